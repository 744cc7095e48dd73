# Who may do what: data.roles, operation -> kind of actor -> roles ("any": no role needed).
package dispatch

grants := data.roles[input.operation][input.actor.kind]

permitted if "any" in grants

# What somebody who is away has lent serves for approvals, and for nothing else.
permitted if {
	input.operation in {
		"decide_approval",
		"claim_approval",
		"release_approval",
		"take_over_approval",
		"comment_approval",
	}
	some role in grants
	role in lent_roles
}

permitted if {
	some role in grants
	role in input.actor.roles
}

deny contains forbidden("NOT_PERMITTED", message, to_pass) if {
	not permitted
	message := sprintf("A caller of kind %s with roles [%s] may not %s.", [
		input.actor.kind,
		concat(", ", input.actor.roles),
		input.operation,
	])
	to_pass := sprintf("Call as %s.", [who_may])
}

who_may := concat("; or as ", grant_texts(people)) if count(grant_texts(people)) > 0

else := concat("; or as ", grant_texts(data.autonomy.kinds)) if count(grant_texts(data.autonomy.kinds)) > 0

else := "nobody: this bundle does not know the operation"

people := ["person", "integration"]

grant_texts(kinds) := [text |
	some kind, roles in data.roles[input.operation]
	kind in kinds
	text := grant_text(kind, roles)
]

grant_text(kind, roles) := kind if {
	"any" in roles
} else := sprintf("%s with role %s", [kind, concat(" or ", roles)])
