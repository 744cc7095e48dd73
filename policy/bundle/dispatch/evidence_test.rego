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

wants_verified := object.union(
	data.templates,
	{"emergency_glass": object.union(data.templates.emergency_glass, {"verified_evidence": ["signature"]})},
)

test_what_must_be_verified_does_not_count_from_the_command if {
	body := {"evidence": [{"kind": kind, "sha256": "00"} | some kind in ["photo_after", "photo_before", "signature"]]}
	deny := data.dispatch.deny with input as f.ask("complete", f.technician, body, f.ticket)
		with data.templates as wants_verified
	{reason.to_pass | some reason in deny} == {"Add evidence of kind `signature` whose file was checked against its hash."}
}

test_what_counts_on_record_counts_however_it_came if {
	body := {"evidence": [{"kind": kind, "sha256": "00"} | some kind in ["photo_after", "photo_before"]]}
	ticket := object.union(f.ticket, {"evidence": ["signature"]})
	deny := data.dispatch.deny with input as f.ask("complete", f.technician, body, ticket)
		with data.templates as wants_verified
	deny == set()
}
