package dispatch_test.roles

import data.dispatch_test.fixtures as f

codes(decision) := {reason.code | some reason in decision.reasons}

test_a_role_of_the_table_passes if {
	decision := data.dispatch.decision with input as f.ask("propose_schedule", f.person("dispatcher"), {}, f.ticket)
	decision == {"result": "ALLOW", "reasons": set(), "obligations": []}
}

test_another_role_does_not if {
	decision := data.dispatch.decision with input as f.ask("propose_schedule", f.person("billing"), {}, f.ticket)
	decision.result == "DENY"
	some reason in decision.reasons
	reason.code == "NOT_PERMITTED"
	reason.class == "FORBIDDEN"
	reason.to_pass == "Call as person with role dispatcher."
}

test_an_unknown_operation_is_denied if {
	decision := data.dispatch.decision with input as f.ask("launch_rocket", f.person("dispatcher"), {}, f.ticket)
	decision.result == "DENY"
	codes(decision) == {"NOT_PERMITTED"}
}

test_nothing_at_all_is_denied if {
	data.dispatch.result == "DENY" with input as {}
}

test_an_integration_needs_no_role_to_bring_in_a_ticket if {
	decision := data.dispatch.decision with input as f.ask("create_ticket", f.software("integration"), {"template": "emergency_glass"}, null)
	decision.result == "ALLOW"
}

bringing_in := {"create_ticket", "add_note", "comms_inbound"}

refused_to(operation, actor) if {
	some reason in data.dispatch.deny with input as f.ask(operation, actor, {}, f.ticket)
	reason.code == "NOT_PERMITTED"
}

test_an_integration_without_roles_does_nothing_else if {
	every operation, _ in data.roles {
		told_apart(operation)
	}
}

told_apart(operation) if {
	operation in bringing_in
	not refused_to(operation, f.software("integration"))
}

told_apart(operation) if {
	not operation in bringing_in
	refused_to(operation, f.software("integration"))
}

test_an_integration_keeps_the_directory_with_the_role_for_it if {
	every operation in {"upsert_site", "upsert_asset", "upsert_contact", "record_absence", "cancel_absence"} {
		not refused_to(operation, f.integration("dispatcher"))
		not refused_to(operation, f.integration("tenant_admin"))
		refused_to(operation, f.integration("account_manager"))
	}
	not refused_to("upsert_technician", f.integration("tenant_admin"))
	refused_to("upsert_technician", f.integration("dispatcher"))
}

test_an_integration_adds_evidence_as_those_who_make_it if {
	not refused_to("add_evidence", f.integration("dispatcher"))
	not refused_to("add_evidence", f.integration("technician"))
	refused_to("add_evidence", f.integration("tenant_admin"))
}
