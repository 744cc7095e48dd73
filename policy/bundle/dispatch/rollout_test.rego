package dispatch_test.rollout

import data.dispatch_test.fixtures as f

good := {
	"from_mode": 3,
	"window_minutes": 40320,
	"sample": 200,
	"agreement_permille": 900,
	"denied_permille": 50,
	"overridden_permille": 50,
	"breaches": 0,
}

report := {"kind": "gate", "age_minutes": 1440, "subject": "dispatch/emergency", "figures": good}

promotion(to) := f.ask(
	"promote_stage", f.person("tenant_admin"),
	{"target": {"operation": "dispatch", "risk": "emergency"}, "to": to, "reason": "quarter"},
	null,
)

# Another value in the report.
judged(to, change) := object.union(promotion(to), {"report": object.union(report, change)})

figure(name, value) := judged("AUTO", {"figures": object.union(good, {name: value})})

codes(request) := {reason.code |
	deny := data.dispatch.deny with input as request
	some reason in deny
}

test_two_people_promote_on_a_good_report if {
	request := judged("AUTO", {})
	codes(request) == set()
	data.dispatch.result == "REQUIRE_APPROVAL" with input as request
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(request, [f.vote(request.actor.id, "tenant_admin")])
	data.dispatch.result == "ALLOW" with input as f.released(request, [f.vote("person:second", "account_manager")])
}

test_not_without_a_report if {
	every mode in {"APPROVE", "CANARY", "AUTO"} {
		codes(promotion(mode)) == {"REPORT_MISSING"}
	}
	codes(promotion("SHADOW")) == set()
}

test_not_on_a_report_about_something_else if {
	codes(judged("AUTO", {"subject": "dispatch"})) == {"REPORT_OTHER"}
	codes(judged("AUTO", {"kind": "policy_diff"})) == {"REPORT_OTHER"}
}

test_the_target_without_a_risk_class if {
	body := {"target": {"operation": "dispatch"}, "to": "AUTO", "reason": "quarter"}
	request := f.ask("promote_stage", f.person("tenant_admin"), body, null)
	about := object.union(report, {"subject": "dispatch"})
	codes(object.union(request, {"report": about})) == set()
}

test_each_figure_is_judged_to_the_last_unit if {
	codes(figure("window_minutes", 40319)) == {"GATE_WINDOW"}
	codes(figure("sample", 199)) == {"GATE_SAMPLE"}
	codes(figure("agreement_permille", 899)) == {"GATE_AGREEMENT"}
	codes(figure("denied_permille", 51)) == {"GATE_DENIED"}
	codes(figure("overridden_permille", 51)) == {"GATE_OVERRIDDEN"}
	codes(figure("breaches", 1)) == {"GATE_BREACHES"}
	codes(judged("AUTO", {"age_minutes": 1441})) == {"GATE_AGE"}
}

without_sample(advised) := judged("AUTO", {"figures": object.union(good, {"sample": 0, "advised": advised})})

test_a_sample_that_never_comes_is_told_apart_from_a_small_one if {
	deny := data.dispatch.deny with input as without_sample(0)
	{reason.to_pass | some reason in deny} == {"No advisor speaks of dispatch, so its sample is 0 for ever and waiting does not help: have a bundle activated whose rule GATE_SAMPLE does not count dispatch."}
}

test_a_small_sample_grows if {
	deny := data.dispatch.deny with input as without_sample(1)
	{reason.to_pass | some reason in deny} == {"Collect at least 200, over a longer time."}
}

test_what_fails_is_all_said if {
	request := object.union(promotion("AUTO"), {"report": object.union(
		object.remove(report, ["figures"]),
		{"figures": {}},
	)})
	codes(request) == {"GATE_AGREEMENT", "GATE_BREACHES", "GATE_DENIED", "GATE_OVERRIDDEN", "GATE_SAMPLE", "GATE_WINDOW"}
}

test_one_stage_at_a_time if {
	codes(figure("from_mode", 2)) == {"STAGE_SKIPPED"}
	codes(figure("from_mode", 4)) == set()
	deny := data.dispatch.deny with input as figure("from_mode", 1)
	{reason.to_pass | some reason in deny} == {"Promote to APPROVE first."}
}

now_at(place, from, to) := judged(to, {"figures": object.union(good, {"from_mode": from, "standing_mode": place})})

test_a_report_of_an_earlier_stage_is_told_apart_from_a_leap if {
	# Made at SHADOW; the stage stands at APPROVE by now, from where CANARY is the next one.
	deny := data.dispatch.deny with input as now_at(2, 1, "CANARY")
	[reason | some reason in deny] == [{
		"code": "REPORT_OTHER",
		"class": "POLICY_DENIED",
		"message": "The report was made while `dispatch/emergency` stood at SHADOW; it stands at APPROVE now.",
		"to_pass": "Make a new one with `dispatch rollout report dispatch/emergency`.",
		"pointer": "/report_sha256",
	}]

	# The other way round, and both at once.
	codes(now_at(1, 2, "CANARY")) == {"REPORT_OTHER", "STAGE_SKIPPED"}
	codes(now_at(2, 2, "CANARY")) == set()
	codes(now_at(1, 1, "AUTO")) == {"STAGE_SKIPPED"}
}

test_how_far_back_is_said_in_days if {
	deny := data.dispatch.deny with input as figure("window_minutes", 2880)
	[[reason.message, reason.to_pass] | some reason in deny] == [[
		"The report looks back over 2 days; for AUTO it must be 28 days.",
		"Make one with `dispatch rollout report dispatch/emergency --since 28d`.",
	]]
}

test_a_bundle_may_ask_for_no_window if {
	gates := {"AUTO": object.remove(data.autonomy.gates.AUTO, ["min_window_days"])}
	deny := data.dispatch.deny with input as figure("window_minutes", 1) with data.autonomy.gates as gates
	deny == set()
}

test_a_lower_stage_asks_for_less if {
	codes(judged("CANARY", {"figures": object.union(good, {"sample": 50, "agreement_permille": 800})})) == set()
}

test_a_demotion_needs_nothing if {
	body := {"target": {"operation": "dispatch"}, "to": "SHADOW", "reason": "guardrail"}
	data.dispatch.result == "ALLOW" with input as f.ask("demote_stage", f.person("tenant_admin"), body, null)
	data.dispatch.result == "ALLOW" with input as f.ask("demote_stage", f.software("workflow"), body, null)
	data.dispatch.result == "DENY" with input as f.ask("demote_stage", f.software("agent"), body, null)
}
