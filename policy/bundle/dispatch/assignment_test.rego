package dispatch_test.assignment

import data.dispatch_test.fixtures as f

codes(state, priority, template) := {reason.code |
	ticket := object.union(f.ticket, {"state": state, "priority": priority, "template": template})
	deny := data.dispatch.deny with input as f.ask("dispatch", f.person("dispatcher"), {}, ticket)
	some reason in deny
}

test_at_once_where_the_template_allows_it if codes("TRIAGED", "P1", "emergency_glass") == set()

test_not_at_once_otherwise if {
	codes("TRIAGED", "P2", "emergency_glass") == {"SCHEDULE_REQUIRED"}
	codes("TRIAGED", "P1", "scheduled_install") == {"SCHEDULE_REQUIRED"}
	codes("TRIAGED", "P1", "gone") == {"SCHEDULE_REQUIRED"}
}

test_in_a_confirmed_window_always if codes("SCHEDULED", "P4", "scheduled_install") == set()
