package dispatch_test.approvals

import data.dispatch_test.fixtures as f

approval := {
	"id": "apr_00000000000000000000000000000001",
	"kind": "change_order",
	"requested_by": "person:technician",
	"required_roles": ["approver"],
}

codes(actor) := codes_of("decide_approval", actor)

codes_of(operation, actor) := {reason.code |
	request := object.union(f.ask(operation, actor, {"verdict": "approve"}, f.ticket), {"approval": approval})
	deny := data.dispatch.deny with input as request
	some reason in deny
}

test_another_person_with_the_role if codes(f.person("approver")) == set()

test_not_the_one_who_asked if {
	codes(object.union(f.person("approver"), {"id": approval.requested_by})) == {"SELF_APPROVAL"}
}

test_who_may_not_decide_keeps_nobody_from_it if {
	every operation in {"claim_approval", "take_over_approval"} {
		codes_of(operation, f.person("approver")) == set()
		codes_of(operation, f.person("dispatcher")) == {"APPROVER_ROLE"}
		codes_of(operation, object.union(f.person("approver"), {"id": approval.requested_by})) == {"SELF_APPROVAL"}
		"APPROVER_KIND" in codes_of(operation, f.integration("approver"))
		"APPROVER_KIND" in codes_of(operation, f.software("agent"))
	}
	codes_of("release_approval", f.person("dispatcher")) == set()
	deny := data.dispatch.deny with input as object.union(
		f.ask("take_over_approval", f.person("dispatcher"), {"reason": "ill", "minutes": 5}, f.ticket),
		{"approval": approval},
	)
	{reason.message | some reason in deny} == {"This approval is to be taken over by role approver."}
}

test_not_without_the_required_role if codes(f.person("account_manager")) == {"APPROVER_ROLE"}

test_all_that_is_wrong_is_said if {
	codes(f.technician) == {"APPROVER_ROLE", "NOT_PERMITTED", "SELF_APPROVAL"}
}

test_software_never_decides if {
	every kind in {"agent", "workflow", "integration"} {
		every mode in {"OFF", "SHADOW", "APPROVE", "CANARY", "AUTO"} {
			actor := object.union(f.software(kind), {"roles": ["approver"]})
			request := f.at_stage(mode, f.ask("decide_approval", actor, {"verdict": "approve"}, f.ticket))
			deny := data.dispatch.deny with input as object.union(request, {"approval": approval})
			"APPROVER_KIND" in {reason.code | some reason in deny}
		}
	}
}

lent(actor, from) := {reason.code |
	request := object.union(
		f.ask("decide_approval", actor, {"verdict": "approve"}, f.ticket),
		{"approval": approval, "lent": [{"from": from, "roles": ["approver"]}]},
	)
	deny := data.dispatch.deny with input as request
	some reason in deny
}

auditor := object.union(f.person("auditor"), {"id": "person:deputy"})

test_a_lent_right_serves if {
	lent(f.person("account_manager"), "person:away") == set()
	lent(auditor, "person:away") == set()
}

test_who_asked_lends_nothing if {
	lent(f.person("account_manager"), approval.requested_by) == {"APPROVER_ROLE"}
	lent(auditor, approval.requested_by) == {"APPROVER_ROLE", "NOT_PERMITTED"}
}

test_a_lent_right_is_for_approvals_only if {
	request := object.union(
		f.ask("dispatch", f.person("auditor"), {}, f.ticket),
		{"approval": approval, "lent": [{"from": "person:away", "roles": ["dispatcher"]}]},
	)
	data.dispatch.result == "DENY" with input as request
}

changed(operation, actor) := {reason.code |
	request := object.union(f.ask(operation, actor, {"reason": "mistake"}, f.ticket), {"approval": approval})
	deny := data.dispatch.deny with input as request
	some reason in deny
}

test_only_who_asked_amends if {
	changed("amend_approval", object.union(f.technician, {"id": approval.requested_by})) == set()
	changed("amend_approval", f.person("dispatcher")) == {"AMEND_OTHERS"}
}

test_others_withdraw_with_a_role_for_it if {
	changed("withdraw_approval", object.union(f.technician, {"id": approval.requested_by})) == set()
	changed("withdraw_approval", f.person("dispatcher")) == set()
	changed("withdraw_approval", f.person("tenant_admin")) == set()
	changed("withdraw_approval", f.person("billing")) == {"WITHDRAW_OTHERS"}
	changed("withdraw_approval", object.union(f.software("agent"), {"roles": ["dispatcher"]})) == {"WITHDRAW_OTHERS"}
	changed("withdraw_approval", object.union(f.software("agent"), {"id": approval.requested_by})) == set()
}
