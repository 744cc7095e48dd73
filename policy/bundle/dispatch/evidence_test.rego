package dispatch_test.evidence

import data.dispatch_test.fixtures as f

missing(operation, submitted, recorded) := {reason.to_pass |
	body := {"evidence": [{"kind": kind, "sha256": "00"} | some kind in submitted]}
	ticket := object.union(f.ticket, {"evidence": recorded})
	deny := data.dispatch.deny with input as f.ask(operation, f.technician, body, ticket)
	some reason in deny
	reason.code == "MISSING_EVIDENCE"
	reason.pointer == "/evidence"
}

test_each_missing_kind_is_named if {
	missing("complete", ["photo_after"], []) == {
		"Add evidence of kind `photo_before`.",
		"Add evidence of kind `signature`.",
	}
}

test_earlier_visits_count if missing("complete", ["photo_after", "signature"], ["photo_before"]) == set()

test_a_return_visit_needs_less if {
	missing("return_visit", ["photo_before", "photo_made_safe"], []) == set()
	count(missing("return_visit", [], [])) == 2
}

test_other_steps_need_none if missing("check_in", [], []) == set()
