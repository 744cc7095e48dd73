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
	classes("record_proposal", f.software("workflow")) == set()
	classes("record_sla", f.software("workflow")) == set()
}

stopped_or_books(operation) if operation in {"record_proposal", "record_sla"}

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
