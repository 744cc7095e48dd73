package dispatch_test.autonomy

import data.dispatch_test.fixtures as f

test_software_keeps_the_books if {
	every request in [
		f.ask("record_proposal", f.software("workflow"), {}, f.ticket),
		f.ask("record_proposal", f.software("agent"), {}, f.ticket),
		f.ask("record_sla", f.software("workflow"), {}, f.ticket),
		f.ask("add_note", f.software("agent"), {}, f.ticket),
	] {
		data.dispatch.result == "ALLOW" with input as request
	}
}

test_software_changes_nothing_in_shadow_mode if {
	every kind in data.autonomy.kinds {
		every operation, _ in data.roles {
			stage_or_books(kind, operation)
		}
	}
}

stage_or_books(_, operation) if operation in data.autonomy.bookkeeping

stage_or_books(kind, operation) if {
	deny := data.dispatch.deny with input as f.ask(operation, f.software(kind), {}, f.ticket)
	some reason in deny
	reason.class == "STAGE"
}

test_a_role_does_not_help if {
	actor := object.union(f.software("agent"), {"roles": ["dispatcher"]})
	deny := data.dispatch.deny with input as f.ask("dispatch", actor, {}, f.ticket)
	{reason.code | some reason in deny} == {"STAGE_SHADOW"}
}

test_people_do_not_record_for_the_workflow if {
	deny := data.dispatch.deny with input as f.ask("record_sla", f.person("dispatcher"), {}, f.ticket)
	{reason.class | some reason in deny} == {"FORBIDDEN"}
}

by_software(kind, operation, mode) := f.at_stage(mode, f.ask(operation, f.software(kind), body(operation), ticket_for(operation)))

body(operation) := {"lines": []} if operation == "generate_invoice"

body(operation) := {} if operation != "generate_invoice"

ticket_for(_) := object.union(f.ticket, {"state": "SCHEDULED"})

delegable := {"triage", "propose_schedule", "dispatch", "qa_verify", "generate_invoice", "comms_outbound"}

test_below_approve_nothing_is_done_or_held if {
	every mode in {"OFF", "SHADOW", "CANARY", "SOMETHING"} {
		every kind in data.autonomy.kinds {
			every operation in delegable {
				data.dispatch.result == "DENY" with input as by_software(kind, operation, mode)
			}
		}
	}
}

test_without_a_stage_nothing_is_done if {
	request := object.remove(by_software("workflow", "dispatch", "AUTO"), ["autonomy"])
	deny := data.dispatch.deny with input as request
	{reason.code | some reason in deny} == {"STAGE_OFF"}
}

test_at_approve_a_person_releases_it if {
	every operation in delegable {
		data.dispatch.result == "REQUIRE_APPROVAL" with input as by_software("workflow", operation, "APPROVE")
	}
}

test_at_auto_it_passes if {
	every operation in delegable {
		data.dispatch.result == "ALLOW" with input as by_software("workflow", operation, "AUTO")
	}
}

test_what_is_for_people_is_for_people_at_any_stage if {
	every kind in data.autonomy.kinds {
		every operation in {"decide_approval", "cancel", "promote_stage", "engage_kill_switch", "activate_bundle"} {
			every mode in {"APPROVE", "AUTO"} {
				data.dispatch.result == "DENY" with input as by_software(kind, operation, mode)
			}
		}
	}
}

test_other_rules_hold_at_auto if {
	request := f.at_stage("AUTO", f.ask("dispatch", f.software("workflow"), {}, object.union(f.ticket, {"state": "TRIAGED", "priority": "P3"})))
	deny := data.dispatch.deny with input as request
	{reason.code | some reason in deny} == {"SCHEDULE_REQUIRED"}
}

way(stage) := to_pass if {
	request := object.union(by_software("workflow", "dispatch", "SHADOW"), {"stage": stage})
	deny := data.dispatch.deny with input as request
	some reason in deny
	to_pass := reason.to_pass
}

test_it_says_what_binds if {
	stage := {"configured": "AUTO", "ceiling": "AUTO", "in_canary": false, "opted_out": true}
	contains(way(stage), "set_ticket_autonomy")
	contains(way(object.union(stage, {"opted_out": false, "ceiling": "SHADOW"})), "no more than SHADOW")
	way(object.union(stage, {"opted_out": false, "configured": "SHADOW"})) == "Record a proposal; a person carries it out."
}
