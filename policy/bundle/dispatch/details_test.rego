package dispatch_test.details

import data.dispatch_test.fixtures as f

reasons(operation, template, details) := {reason |
	body := {"priority": "P1", "template": template, "details": details}
	deny := data.dispatch.deny with input as f.ask(operation, f.person("dispatcher"), body, f.ticket)
	some reason in deny
	reason.code == "UNKNOWN_DETAIL"
}

pointers(template, details) := {reason.pointer | some reason in reasons("create_ticket", template, details)}

test_what_is_listed_passes if {
	pointers("emergency_glass", {"pane_count": 2, "public_hazard": true, "glass_kind": "laminated"}) == set()
	pointers("emergency_door", {"door_kind": "sliding", "building_secure": false, "width_cm": 0}) == set()
	pointers("emergency_glass", {}) == set()
}

test_a_free_key_does_not_and_is_not_repeated if {
	found := reasons("create_ticket", "emergency_glass", {"name": "anna_jansen", "phone": 31612345678})
	{reason.pointer | some reason in found} == {"/details"}
	every reason in found {
		text := sprintf("%v", [reason])
		not contains(text, "anna")
		not contains(text, "phone")
		contains(text, "pane_count")
	}
}

test_a_value_is_of_its_kind_and_in_its_range if {
	pointers("emergency_glass", {"pane_count": 31612345678}) == {"/details/pane_count"}
	pointers("emergency_glass", {"pane_count": -1}) == {"/details/pane_count"}
	pointers("emergency_glass", {"pane_count": true}) == {"/details/pane_count"}
	pointers("emergency_glass", {"pane_count": null}) == {"/details/pane_count"}
	pointers("emergency_glass", {"public_hazard": 1}) == {"/details/public_hazard"}
	pointers("emergency_glass", {"glass_kind": "anna_jansen"}) == {"/details/glass_kind"}
	pointers("emergency_glass", {"glass_kind": "anna_jansen", "who": 1}) == {"/details/glass_kind", "/details"}
}

test_it_says_what_would_do if {
	{reason.to_pass | some reason in reasons("create_ticket", "emergency_glass", {"pane_count": 1001})} == {"Give `details.pane_count` as a whole number from 0 to 1000."}
	{reason.to_pass | some reason in reasons("create_ticket", "emergency_glass", {"boarded_up": 7})} == {"Give `details.boarded_up` as true or false."}
}

test_triage_is_judged_by_the_template_that_it_names if {
	count(reasons("triage", "emergency_glass", {"pane_count": 2})) == 0
	count(reasons("triage", "emergency_door", {"pane_count": 2})) == 1
}

test_other_commands_have_no_details if {
	count(reasons("cancel", "emergency_glass", {"name": "x"})) == 0
}
