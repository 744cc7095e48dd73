package dispatch_test.templates

import data.dispatch_test.fixtures as f

codes(request) := {reason.code |
	deny := data.dispatch.deny with input as request
	some reason in deny
}

test_an_unknown_template_is_named if {
	request := f.ask("create_ticket", f.person("dispatcher"), {"template": "moon_landing"}, null)
	codes(request) == {"UNKNOWN_TEMPLATE"}
	deny := data.dispatch.deny with input as request
	some reason in deny
	reason.pointer == "/template"
	contains(reason.to_pass, "emergency_glass")
}

test_a_known_one_passes if {
	codes(f.ask("create_ticket", f.person("dispatcher"), {"template": "emergency_door"}, null)) == set()
}

retired := object.union(f.ticket, {"template": "gone"})

test_a_retired_template_cannot_be_completed if {
	codes(f.ask("complete", f.technician, {"evidence": []}, retired)) == {"TEMPLATE_RETIRED"}
	codes(f.ask("triage", f.person("dispatcher"), {"priority": "P1", "details": {}}, retired)) == {"TEMPLATE_RETIRED"}
}

# What it covers is what a change order is measured by.
test_no_change_order_without_what_it_is_measured_by if {
	body := {"scope": "second_pane", "price_delta_cents": 240000}
	request := f.ask("request_change", f.technician, body, retired)
	codes(request) == {"TEMPLATE_RETIRED"}
	data.dispatch.result == "DENY" with input as request
}

test_triage_moves_it_to_another if {
	body := {"priority": "P1", "template": "emergency_glass", "details": {}}
	codes(f.ask("triage", f.person("dispatcher"), body, retired)) == set()
}
