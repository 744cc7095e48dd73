package dispatch_test.autonomy

import data.dispatch_test.fixtures as f

test_software_keeps_the_books if {
	every request in [
		f.ask("record_proposal", f.software("workflow"), {}, f.ticket),
		f.ask("record_proposal", f.software("agent"), {}, f.ticket),
		f.ask("record_sla", f.software("workflow"), {}, f.ticket),
		f.ask("add_note", f.software("agent"), {}, f.ticket),
	] {
		data.dispatch.result == "ALLOW" with input as request
	}
}

test_software_changes_nothing_in_shadow_mode if {
	every kind in data.autonomy.kinds {
		every operation, _ in data.roles {
			stage_or_books(kind, operation)
		}
	}
}

stage_or_books(_, operation) if operation in data.autonomy.bookkeeping

stage_or_books(kind, operation) if {
	deny := data.dispatch.deny with input as f.ask(operation, f.software(kind), {}, f.ticket)
	some reason in deny
	reason.class == "STAGE"
}

test_a_role_does_not_help if {
	actor := object.union(f.software("agent"), {"roles": ["dispatcher"]})
	deny := data.dispatch.deny with input as f.ask("dispatch", actor, {}, f.ticket)
	{reason.code | some reason in deny} == {"STAGE_SHADOW"}
}

test_people_do_not_record_for_the_workflow if {
	deny := data.dispatch.deny with input as f.ask("record_sla", f.person("dispatcher"), {}, f.ticket)
	{reason.class | some reason in deny} == {"FORBIDDEN"}
}
