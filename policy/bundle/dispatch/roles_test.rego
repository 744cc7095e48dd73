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

test_an_integration_does_nothing_else if {
	decision := data.dispatch.decision with input as f.ask("close", f.software("integration"), {}, f.ticket)
	codes(decision) == {"NOT_PERMITTED"}
}
