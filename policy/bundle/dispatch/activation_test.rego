package dispatch_test.activation

import data.dispatch_test.fixtures as f

request := f.ask("activate_bundle", f.person("platform_admin"), {"sha256": "ab", "reason": "rules"}, null)

strict := {"needs_approval": true, "require_report": true, "report_max_age_minutes": 60}

summary := {
	"report_sha256": "ef",
	"candidate_sha256": "ab",
	"until": "2026-11-21T08:00:00Z",
	"decisions": 100,
	"newly_allowed": 1,
	"newly_denied": 2,
	"newly_held": 3,
	"undecided": 0,
}

diff(change) := object.union(request, {"body": {"report": object.union(summary, change)}})

codes(about) := {reason.code |
	deny := data.dispatch.deny with input as about with data.activation as strict
	some reason in deny
}

lax := {"needs_approval": false, "require_report": false, "report_max_age_minutes": 60}

test_where_nothing_is_asked_for_one_person_may if {
	data.dispatch.result == "ALLOW" with input as request with data.activation as lax
}

test_a_report_may_be_asked_for if {
	codes(request) == {"DIFF_MISSING"}
	codes(diff({})) == set()
	codes(diff({"candidate_sha256": "cd"})) == {"DIFF_OTHER"}
	codes(diff({"undecided": 1})) == {"DIFF_UNDECIDED"}
	codes(diff({"until": "2026-11-21T07:59:59Z"})) == {"DIFF_OLD"}
}

wide := object.union(strict, {"report_min_days": 7, "report_min_decisions": 100})

codes_of_wide(about) := {reason.code |
	deny := data.dispatch.deny with input as about with data.activation as wide
	some reason in deny
}

test_a_report_over_nearly_nothing_may_be_too_little if {
	codes_of_wide(diff({})) == {"DIFF_WINDOW"}
	codes_of_wide(diff({"since": "2026-11-14T08:00:00Z"})) == set()
	codes_of_wide(diff({"since": "2026-11-14T08:00:01Z"})) == {"DIFF_WINDOW"}
	codes_of_wide(diff({"since": "2026-11-14T08:00:00Z", "decisions": 99})) == {"DIFF_SAMPLE"}
	codes_of_wide(diff({"since": null})) == {"DIFF_WINDOW"}
	codes_of_wide(request) == {"DIFF_MISSING"}
}

sent(report) := object.union(request, {"body": {"report": report}})

test_what_is_no_report_is_none if {
	every nothing in [null, false, true, "none", 7, []] {
		codes(sent(nothing)) == {"DIFF_MISSING"}
	}
}

# Of what is no hash a policy sees the length.
test_a_report_about_nothing_is_about_another_bundle if {
	codes(diff({"candidate_sha256": {"chars": 2}})) == {"DIFF_OTHER"}
	codes(diff({"report_sha256": {"chars": 2}})) == set()
}

test_and_a_second_person if {
	data.dispatch.result == "REQUIRE_APPROVAL" with input as diff({}) with data.activation as strict
	data.dispatch.result == "ALLOW" with input as f.released(diff({}), [f.vote("person:b", "platform_admin")])
		with data.activation as strict
}
