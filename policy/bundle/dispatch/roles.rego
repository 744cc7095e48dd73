# Who may do what: data.roles, operation -> kind of actor -> roles ("any": no role needed).
package dispatch

grants := data.roles[input.operation][input.actor.kind]

permitted if "any" in grants

permitted if {
	some role in grants
	role in input.actor.roles
}

# What software may not do by itself is a matter of its stage (autonomy.rego), not of roles.
deny contains forbidden("NOT_PERMITTED", message, to_pass) if {
	not permitted
	not autonomous_change
	message := sprintf("A caller of kind %s with roles [%s] may not %s.", [
		input.actor.kind,
		concat(", ", input.actor.roles),
		input.operation,
	])
	to_pass := sprintf("Call as %s.", [who_may])
}

grant_texts := [text |
	some kind, roles in data.roles[input.operation]
	text := sprintf("%s with role %s", [kind, concat(" or ", roles)])
]

default who_may := "nobody: this bundle does not know the operation"

who_may := concat("; or as ", grant_texts) if count(grant_texts) > 0
