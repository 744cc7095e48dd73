package dispatch_test.approvals

import data.dispatch_test.fixtures as f

approval := {
	"id": "apr_00000000000000000000000000000001",
	"kind": "change_order",
	"requested_by": "person:technician",
	"required_roles": ["approver"],
}

codes(actor) := {reason.code |
	request := object.union(f.ask("decide_approval", actor, {"verdict": "approve"}, f.ticket), {"approval": approval})
	deny := data.dispatch.deny with input as request
	some reason in deny
}

test_another_person_with_the_role if codes(f.person("approver")) == set()

test_not_the_one_who_asked if {
	codes(object.union(f.person("approver"), {"id": approval.requested_by})) == {"SELF_APPROVAL"}
}

test_not_without_the_required_role if codes(f.person("account_manager")) == {"APPROVER_ROLE"}

test_all_that_is_wrong_is_said if {
	codes(f.technician) == {"APPROVER_ROLE", "NOT_PERMITTED", "SELF_APPROVAL"}
}
