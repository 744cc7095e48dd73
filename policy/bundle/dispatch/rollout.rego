# Software gets further by one stage at a time, on a gate report whose figures are good enough for
# that stage (data.autonomy.gates), and with the word of a second person.
package dispatch

hold contains held("PROMOTION", message, "Leave the stage as it is") if {
	input.operation == "promote_stage"
	message := sprintf("That software may do more by itself (%s to %s) is decided by two people.", [
		stage_key,
		input.body.to,
	])
}

# Where the stage stands; of an approval's release it is not said, for that is bound to it otherwise.
stands := object.get(input.report.figures, "standing_mode", input.report.figures.from_mode)

# By their rank.
modes := ["OFF", "SHADOW", "APPROVE", "CANARY", "AUTO"]

deny contains at(unmet("STAGE_SKIPPED", message, to_pass), "/to") if {
	input.operation == "promote_stage"
	rank[input.body.to] > stands + 1
	message := sprintf("A promotion from %s to %s would leave out a stage.", [modes[stands], input.body.to])
	to_pass := sprintf("Promote to %s first.", [modes[stands + 1]])
}

# What the report must be about.
stage_key := sprintf("%s/%s", [input.body.target.operation, input.body.target.risk]) if {
	input.body.target.risk
} else := input.body.target.operation

gated if {
	input.operation == "promote_stage"
	data.autonomy.gates[input.body.to]
}

report_fits if {
	input.report.kind == "gate"
	input.report.subject == stage_key
}

deny contains at(unmet("REPORT_MISSING", message, to_pass), "/report_sha256") if {
	gated
	not input.report
	message := sprintf("A promotion of %s to %s needs a gate report.", [stage_key, input.body.to])
	to_pass := "Make one with `dispatch rollout report` and name its hash in `report_sha256`."
}

deny contains at(unmet("REPORT_OTHER", message, to_pass), "/report_sha256") if {
	gated
	input.report
	not report_fits
	message := sprintf("The report is of kind `%s` about `%s`.", [input.report.kind, input.report.subject])
	to_pass := sprintf("Name one of kind `gate` about `%s`.", [stage_key])
}

# The same stage, and it has been changed since.
deny contains at(unmet("REPORT_OTHER", message, to_pass), "/report_sha256") if {
	gated
	report_fits
	stood := input.report.figures.from_mode
	stood != stands
	message := sprintf("The report was made while `%s` stood at %s; it stands at %s now.", [
		stage_key,
		modes[stood],
		modes[stands],
	])
	to_pass := sprintf("Make a new one with `dispatch rollout report %s`.", [stage_key])
}

gate := data.autonomy.gates[input.body.to] if {
	gated
	report_fits
}

# A figure that the report does not have is not good enough.
at_least(figure, least) if input.report.figures[figure] >= least

at_most(figure, most) if input.report.figures[figure] <= most

figure_text(figure) := object.get(input.report.figures, figure, "no figure")

deny contains at(unmet("GATE_AGE", message, to_pass), "/report_sha256") if {
	most := gate.max_age_minutes
	input.report.age_minutes > most
	message := sprintf("The report is %d minutes old; for %s it may be %d.", [
		input.report.age_minutes,
		input.body.to,
		most,
	])
	to_pass := "Make a new one with `dispatch rollout report`."
}

# A window of one's choice would leave out what went wrong.
deny contains at(unmet("GATE_WINDOW", message, to_pass), "/report_sha256") if {
	least := gate.min_window_days
	not at_least("window_minutes", least * 1440)
	message := sprintf("The report looks back over %s; for %s it must be %d days.", [window_text, input.body.to, least])
	to_pass := sprintf("Make one with `dispatch rollout report %s --since %dd`.", [stage_key, least])
}

window_text := sprintf("%d days", [floor(input.report.figures.window_minutes / 1440)]) if {
	input.report.figures.window_minutes >= 0
} else := "a time that it does not say"

deny contains unmet("GATE_SAMPLE", message, to_pass) if {
	least := gate.min_sample
	not at_least("sample", least)
	message := sprintf("The report rests on %v pairs of a proposal with what people did.", [figure_text("sample")])
	to_pass := to_collect(least)
}

# What nothing is ever proposed for has no sample, however long one waits.
to_collect(least) := sprintf("No advisor speaks of %s, so its sample is 0 for ever and waiting does not help: have a bundle activated whose rule GATE_SAMPLE does not count %s.", [
	input.body.target.operation,
	input.body.target.operation,
]) if {
	least > 0
	input.report.figures.advised == 0
} else := sprintf("Collect at least %d, over a longer time.", [least])

deny contains unmet("GATE_AGREEMENT", message, to_pass) if {
	least := gate.min_agreement_permille
	not at_least("agreement_permille", least)
	message := sprintf("The lower bound of the agreement is %v ‰.", [figure_text("agreement_permille")])
	to_pass := sprintf("It must be at least %d ‰.", [least])
}

deny contains unmet("GATE_DENIED", message, to_pass) if {
	most := gate.max_denied_permille
	not at_most("denied_permille", most)
	message := sprintf("Policy denied %v ‰ of what software attempted.", [figure_text("denied_permille")])
	to_pass := sprintf("It may deny at most %d ‰.", [most])
}

deny contains unmet("GATE_OVERRIDDEN", message, to_pass) if {
	most := gate.max_overridden_permille
	not at_most("overridden_permille", most)
	message := sprintf("People undid %v ‰ of what software did.", [figure_text("overridden_permille")])
	to_pass := sprintf("They may undo at most %d ‰.", [most])
}

deny contains unmet("GATE_BREACHES", message, to_pass) if {
	most := gate.max_breaches
	not at_most("breaches", most)
	message := sprintf("Promises broken on tickets on which software acted: %v.", [figure_text("breaches")])
	to_pass := sprintf("At most %d may be broken.", [most])
}
