package dispatch_test.holds

import data.dispatch_test.fixtures as f

proposed := f.at_stage("APPROVE", f.ask("dispatch", f.software("workflow"), {}, object.union(f.ticket, {"state": "SCHEDULED"})))

rule(roles, count) := {"STAGE_APPROVE": {"roles": roles, "count": count}}

test_it_says_who_and_until_when if {
	decision := data.dispatch.decision with input as proposed
	decision.result == "REQUIRE_APPROVAL"
	decision.approval.demands == {{"code": "STAGE_APPROVE", "roles": ["dispatcher"], "count": 1}}
	decision.approval.plan == data.approvals.plans.dispatch
	{reason.to_pass | some reason in decision.reasons} == {"Have a person do it, or have it approved by dispatcher."}
}

test_what_has_no_plan_of_its_own_has_the_default if {
	request := f.at_stage("APPROVE", f.ask("triage", f.software("workflow"), {}, f.ticket))
	decision := data.dispatch.decision with input as request
	decision.approval.plan == data.approvals.plans["default"]
}

test_some_operations_are_for_others if {
	request := f.at_stage("APPROVE", f.ask("qa_verify", f.software("workflow"), {}, f.ticket))
	decision := data.dispatch.decision with input as request
	{demand.roles | some demand in decision.approval.demands} == {["qa"]}
}

test_enough_votes_release_it if {
	request := f.released(proposed, [f.vote("person:a", "dispatcher")])
	decision := data.dispatch.decision with input as request
	decision == {"result": "ALLOW", "reasons": set(), "obligations": []}
}

test_the_roles_count if {
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(proposed, [])
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(proposed, [f.vote("person:a", "billing")])
}

test_who_may_decide_by_an_escalation_counts if {
	data.dispatch.result == "ALLOW" with input as f.released(proposed, [f.vote("person:a", "account_manager")])
}

test_one_person_is_one_person if {
	votes := [f.vote("person:a", "dispatcher"), f.vote("person:a", "account_manager")]
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(proposed, votes)
		with data.approvals.rules as rule(["dispatcher", "account_manager"], 2)
	two := array.concat(votes, [f.vote("person:b", "dispatcher")])
	data.dispatch.result == "ALLOW" with input as f.released(proposed, two)
		with data.approvals.rules as rule(["dispatcher", "account_manager"], 2)
}

about(codes, request) := object.union(request, {"release": object.union(request.release, {"codes": codes})})

test_a_yes_is_about_what_it_was_asked_for if {
	request := f.released(proposed, [f.vote("person:a", "dispatcher")])
	data.dispatch.result == "ALLOW" with input as about(["STAGE_APPROVE"], request)
	data.dispatch.result == "ALLOW" with input as about(["QUIET_HOURS", "STAGE_APPROVE"], request)
	data.dispatch.result == "REQUIRE_APPROVAL" with input as about(["QUIET_HOURS"], request)
	data.dispatch.result == "REQUIRE_APPROVAL" with input as about([], request)
}

test_the_night_is_not_released_by_a_yes_of_the_day if {
	body := {"channel": "sms", "send_at": "2026-11-21T23:00:00Z"}
	asked := f.at_stage("APPROVE", f.ask("comms_outbound", f.software("agent"), body, object.union(f.ticket, {"template": "scheduled_install"})))
	request := f.released(asked, [f.vote("person:a", "dispatcher")])
	decision := data.dispatch.decision with input as about(["STAGE_APPROVE"], request)
	decision.result == "REQUIRE_APPROVAL"
	{demand.code | some demand in decision.approval.demands} == {"QUIET_HOURS"}
	data.dispatch.result == "ALLOW" with input as about(["QUIET_HOURS", "STAGE_APPROVE"], request)
	data.dispatch.result == "ALLOW" with input as request
}

test_who_proposed_does_not_count if {
	votes := [f.vote(proposed.actor.id, "dispatcher")]
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(proposed, votes)
}

test_several_are_counted_in_words if {
	decision := data.dispatch.decision with input as proposed with data.approvals.rules as rule(["dispatcher"], 2)
	{reason.to_pass | some reason in decision.reasons} == {"Have a person do it, or have it approved by 2 people of role dispatcher."}
}

test_what_nobody_may_release_is_denied if {
	decision := data.dispatch.decision with input as proposed with data.approvals.rules as {}
	decision.result == "DENY"
	{reason.code | some reason in decision.reasons} == {"NO_APPROVAL_RULE", "STAGE_APPROVE"}
}

test_a_denial_says_what_would_be_held_too if {
	ticket := object.union(f.ticket, {"state": "TRIAGED", "priority": "P3"})
	decision := data.dispatch.decision with input as object.union(proposed, {"ticket": ticket})
	decision.result == "DENY"
	not decision.approval
	{reason.code | some reason in decision.reasons} == {"SCHEDULE_REQUIRED", "STAGE_APPROVE"}
}

test_votes_mend_no_denial if {
	ticket := object.union(f.ticket, {"state": "TRIAGED", "priority": "P3"})
	request := f.released(object.union(proposed, {"ticket": ticket}), [f.vote("person:a", "dispatcher")])
	data.dispatch.result == "DENY" with input as request
	data.dispatch.result == "DENY" with input as f.released(f.at_stage("SHADOW", proposed), [f.vote("person:a", "dispatcher")])
}
