# Another bundle decides from its activation on; whether that takes a second person, and the summary
# of what it would have decided otherwise, stands in data.activation.
package dispatch

hold contains held("BUNDLE_ACTIVATION", message, "Leave the active bundle as it is") if {
	input.operation == "activate_bundle"
	data.activation.needs_approval
	message := "That another bundle decides is decided by two people."
}

compared if {
	input.operation == "activate_bundle"
	data.activation.require_report
}

deny contains at(unmet("DIFF_MISSING", message, to_pass), "/report") if {
	compared
	not is_object(object.get(input.body, "report", null))
	message := "This bundle is activated only on a report of what it would have decided."
	to_pass := "Make one with `dispatch policy diff` and send its summary in `report`."
}

deny contains at(unmet("DIFF_OTHER", message, to_pass), "/report/candidate_sha256") if {
	compared
	input.body.report.candidate_sha256 != input.body.sha256
	message := "The report is about another bundle."
	to_pass := sprintf("Send the summary of a report about `%s`.", [input.body.sha256])
}

deny contains at(unmet("DIFF_UNDECIDED", message, to_pass), "/report/undecided") if {
	compared
	input.body.report.undecided > 0
	message := sprintf("There are %d recorded decisions that the bundle could not make.", [input.body.report.undecided])
	to_pass := "Mend its rules until it decides them all."
}

deny contains at(unmet("DIFF_OLD", message, to_pass), "/report/until") if {
	compared
	most := data.activation.report_max_age_minutes
	age := time.parse_rfc3339_ns(input.at) - time.parse_rfc3339_ns(input.body.report.until)
	age > most * 60000000000
	message := sprintf("The report ends more than %d minutes ago.", [most])
	to_pass := "Make a new one with `dispatch policy diff`."
}

# From when on a report looks is chosen by who makes it: one over nearly nothing says nearly nothing.
deny contains at(unmet("DIFF_WINDOW", message, to_pass), "/report/since") if {
	compared
	is_object(input.body.report)
	least := data.activation.report_min_days
	least > 0
	not looks_back(least)
	message := sprintf("The report looks at less than %d days.", [least])
	to_pass := sprintf("Make one with `dispatch policy diff --since %dd`.", [least + 1])
}

looks_back(days) if {
	is_string(input.body.report.since)
	begin := time.parse_rfc3339_ns(input.body.report.since)
	time.parse_rfc3339_ns(input.body.report.until) - begin >= ((days * 24) * 3600) * 1000000000
}

deny contains at(unmet("DIFF_SAMPLE", message, to_pass), "/report/decisions") if {
	compared
	least := data.activation.report_min_decisions
	input.body.report.decisions < least
	message := sprintf("The report looks at %d decisions; %d are asked for.", [input.body.report.decisions, least])
	to_pass := "Make one over a longer time, and over all tenants."
}
