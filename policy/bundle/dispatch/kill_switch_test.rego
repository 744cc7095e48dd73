package dispatch_test.kill_switch

import data.dispatch_test.fixtures as f

while_engaged(operation, actor) := object.union(f.ask(operation, actor, {}, f.ticket), {"kill_switch": true})

classes(operation, actor) := {reason.class |
	deny := data.dispatch.deny with input as while_engaged(operation, actor)
	some reason in deny
}

test_an_agent_is_stopped_whatever_it_asks if {
	every operation, _ in data.roles {
		"KILL_SWITCH" in classes(operation, f.software("agent"))
	}
}

test_a_workflow_keeps_its_books_and_nothing_else if {
	every operation, _ in data.roles {
		stopped_or_books(operation)
	}
	every operation in {"record_proposal", "record_sla", "record_approval_step", "execute_approval", "demote_stage"} {
		classes(operation, f.software("workflow")) == set()
	}
}

stopped_or_books(operation) if operation in data.autonomy.through_kill_switch

stopped_or_books(operation) if "KILL_SWITCH" in classes(operation, f.software("workflow"))

test_people_and_integrations_go_on if {
	classes("dispatch", f.person("dispatcher")) == set()
	classes("release_kill_switch", f.person("tenant_admin")) == set()
	classes("upsert_site", f.integration("dispatcher")) == set()
}

test_released_it_stops_nobody if {
	request := object.union(f.ask("add_note", f.software("agent"), {}, f.ticket), {"kill_switch": false})
	data.dispatch.result == "ALLOW" with input as request
}

test_it_is_said_beside_the_stage if classes("dispatch", f.software("agent")) == {"KILL_SWITCH", "STAGE"}

test_the_switches_are_named if {
	request := object.union(
		while_engaged("dispatch", f.software("workflow")),
		{"kill_switches": ["operation:dispatch", "tenant"]},
	)
	deny := data.dispatch.deny with input as request
	some reason in deny
	reason.message == "The kill switch is engaged (operation:dispatch, tenant): dispatch is not for a caller of kind workflow now."
}

test_a_person_may_override_it_and_not_the_stage if {
	request := object.union(while_engaged("dispatch", f.software("workflow")), {"kill_switch_override": "storm"})
	deny := data.dispatch.deny with input as request
	{reason.class | some reason in deny} == {"STAGE"}
	released := f.released(f.at_stage("APPROVE", request), [f.vote("person:d", "dispatcher")])
	data.dispatch.result == "ALLOW" with input as released
}

turn(operation, role, kind) := f.ask(operation, f.person(role), {"reason": "storm", "scope": {"kind": kind}}, null)

test_everything_is_for_the_platform if {
	every operation in {"engage_kill_switch", "release_kill_switch"} {
		deny := data.dispatch.deny with input as turn(operation, "tenant_admin", "everything")
		{reason.code | some reason in deny} == {"KILL_SWITCH_SCOPE"}
	}
	data.dispatch.result == "ALLOW" with input as turn("engage_kill_switch", "platform_admin", "everything")
	data.dispatch.result == "ALLOW" with input as turn("engage_kill_switch", "dispatcher", "ticket")
}

test_to_re_arm_everything_takes_two if {
	request := turn("release_kill_switch", "platform_admin", "everything")
	data.dispatch.result == "REQUIRE_APPROVAL" with input as request
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(request, [f.vote(request.actor.id, "platform_admin")])
	data.dispatch.result == "ALLOW" with input as f.released(request, [f.vote("person:other", "platform_admin")])
}

test_the_second_one_is_of_the_platform_too if {
	request := turn("release_kill_switch", "platform_admin", "everything")
	need := data.dispatch.decision.approval with input as request
	need.demands == {{"code": "REARM_EVERYTHING", "roles": ["platform_admin"], "count": 1}}
	every role in {"tenant_admin", "account_manager", "dispatcher", "approver"} {
		data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(request, [f.vote("person:other", role)])
	}
}

test_nobody_else_releases_it_whoever_agreed if {
	every role in {"tenant_admin", "dispatcher", "account_manager", "auditor"} {
		request := turn("release_kill_switch", role, "everything")
		data.dispatch.result == "DENY" with input as request
		data.dispatch.result == "DENY" with input as f.released(request, [f.vote("person:other", "platform_admin")])
	}
}

test_to_re_arm_a_tenant_takes_two_where_it_is_asked_for if {
	request := turn("release_kill_switch", "tenant_admin", "tenant")
	data.dispatch.result == "ALLOW" with input as request
	data.dispatch.result == "REQUIRE_APPROVAL" with input as request
		with data.approvals.rearm_scopes as ["everything", "tenant"]
	data.dispatch.result == "ALLOW" with input as f.released(request, [f.vote("person:other", "tenant_admin")])
		with data.approvals.rearm_scopes as ["everything", "tenant"]
}

by_kind(kind) := object.union(turn("release_kill_switch", "auditor", "everything"), {"actor": object.union(f.software(kind), {"roles": []})})

test_what_released_itself_is_recorded_by_the_workflow_only if {
	data.dispatch.result == "ALLOW" with input as by_kind("workflow")
	data.dispatch.result == "DENY" with input as by_kind("agent")
	data.dispatch.result == "DENY" with input as by_kind("integration")
}
