# Separation of duties: who asks does not decide, and who decides has the role that was asked for.
package dispatch

deny contains forbidden("SELF_APPROVAL", message, to_pass) if {
	input.operation == "decide_approval"
	input.approval.requested_by == input.actor.id
	message := "The one who asked for an approval may not decide it."
	to_pass := sprintf("Another person with role %s decides.", [concat(" or ", input.approval.required_roles)])
}

deny contains forbidden("APPROVER_ROLE", message, to_pass) if {
	input.operation == "decide_approval"
	required := input.approval.required_roles
	not has_required_role
	message := sprintf("This approval is to be decided by role %s.", [concat(" or ", required)])
	to_pass := sprintf("Call as a person with role %s.", [concat(" or ", required)])
}

has_required_role if {
	some role in input.approval.required_roles
	role in input.actor.roles
}
