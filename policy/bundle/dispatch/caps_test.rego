package dispatch_test.caps

import data.dispatch_test.fixtures as f

caps := {"commands_per_hour": 10, "of_operation_per_hour": {"dispatch": 5}, "spend_cents_per_hour": 100000, "held_per_ticket": 3}

scheduled := object.union(f.ticket, {"state": "SCHEDULED"})

request(operation, hour) := object.union(
	f.at_stage("AUTO", f.ask(operation, f.software("workflow"), {"lines": []}, scheduled)),
	{"hour": hour},
)

hour(in_all, of_operation, spent, spends) := {
	"in_all": in_all,
	"of_operation": of_operation,
	"spent_cents": spent,
	"spends_cents": spends,
}

codes(about) := {reason.code |
	deny := data.dispatch.deny with input as about with data.autonomy.caps as caps
	some reason in deny
}

test_below_all_caps if codes(request("dispatch", hour(9, 4, 0, 0))) == set()

test_so_many_in_all if codes(request("dispatch", hour(10, 4, 0, 0))) == {"AUTONOMY_CAP_COUNT"}

test_so_many_of_a_kind if {
	codes(request("dispatch", hour(9, 5, 0, 0))) == {"AUTONOMY_CAP_OPERATION"}
	codes(request("qa_verify", hour(9, 9, 0, 0))) == set()
}

test_so_much if {
	codes(request("generate_invoice", hour(0, 0, 60000, 40000))) == set()
	codes(request("generate_invoice", hour(0, 0, 60000, 40001))) == {"AUTONOMY_CAP_SPEND"}
}

test_it_says_how_much_is_left if {
	deny := data.dispatch.deny with input as request("generate_invoice", hour(0, 0, 60001, 40000)) with data.autonomy.caps as caps
	{reason.to_pass | some reason in deny} == {"Spend at most 399.99 EUR, wait for the next hour (UTC), or let a person do it."}
}

test_what_a_person_released_is_not_done_by_itself if {
	about := f.released(request("dispatch", hour(10, 5, 0, 0)), [f.vote("person:a", "dispatcher")])
	codes(about) == set()
}

test_people_and_books_are_not_counted if {
	codes(object.union(request("dispatch", hour(10, 5, 0, 0)), {"actor": f.person("dispatcher")})) == set()
	codes(request("record_sla", hour(10, 5, 0, 0))) == set()
}

with_held(stage, n) := f.at_stage(stage, f.ask(
	"dispatch", f.software("agent"), {"lines": []},
	object.union(scheduled, {"held_by_software": n}),
))

test_so_many_wait_for_people if {
	codes(with_held("APPROVE", 2)) == set()
	codes(with_held("APPROVE", 3)) == {"AUTONOMY_CAP_HELD"}
}

test_what_waits_stops_only_what_would_wait if {
	codes(with_held("AUTO", 3)) == set()
	codes(f.released(with_held("APPROVE", 3), [f.vote("person:a", "dispatcher")])) == set()
	amended := object.union(with_held("APPROVE", 3), {"approval": {"id": "apr_00000000000000000000000000000001"}})
	codes(amended) == set()
}

test_a_bundle_may_do_without_the_cap_on_what_waits if {
	deny := data.dispatch.deny with input as with_held("APPROVE", 1000) with data.autonomy.caps as object.remove(caps, ["held_per_ticket"])
	deny == set()
}
