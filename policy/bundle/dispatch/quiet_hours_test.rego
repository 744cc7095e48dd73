package dispatch_test.quiet_hours

import data.dispatch_test.fixtures as f

install := object.union(f.ticket, {"template": "scheduled_install", "state": "TENTATIVE"})

ask(operation, body, at) := object.union(f.ask(operation, f.person("dispatcher"), body, install), {"at": at})

message(at) := ask("comms_outbound", {"channel": "sms"}, at)

codes(request) := {reason.code |
	hold := data.dispatch.hold with input as request
	some reason in hold
}

at(moment) := codes(message(moment))

# Amsterdam in winter is UTC + 1.
test_the_night_begins_and_ends_on_the_minute if {
	at("2026-11-20T20:59:59Z") == set()
	at("2026-11-20T21:00:00Z") == {"QUIET_HOURS"}
	at("2026-11-20T23:30:00Z") == {"QUIET_HOURS"}
	at("2026-11-21T05:59:59Z") == {"QUIET_HOURS"}
	at("2026-11-21T06:00:00Z") == set()
}

# In summer UTC + 2.
test_in_summer_by_the_clock_on_the_wall if {
	at("2026-07-01T19:59:59Z") == set()
	at("2026-07-01T20:00:00Z") == {"QUIET_HOURS"}
	at("2026-07-02T04:59:59Z") == {"QUIET_HOURS"}
	at("2026-07-02T05:00:00Z") == set()
}

# On 29 March 2026 the night is an hour shorter, on 25 October an hour longer.
test_on_the_days_on_which_the_clock_is_changed if {
	at("2026-03-28T21:00:00Z") == {"QUIET_HOURS"}
	at("2026-03-29T00:59:59Z") == {"QUIET_HOURS"}
	at("2026-03-29T01:00:00Z") == {"QUIET_HOURS"}
	at("2026-03-29T04:59:59Z") == {"QUIET_HOURS"}
	at("2026-03-29T05:00:00Z") == set()
	at("2026-10-24T20:00:00Z") == {"QUIET_HOURS"}
	at("2026-10-25T00:30:00Z") == {"QUIET_HOURS"}
	at("2026-10-25T01:30:00Z") == {"QUIET_HOURS"}
	at("2026-10-25T05:59:59Z") == {"QUIET_HOURS"}
	at("2026-10-25T06:00:00Z") == set()
}

with_tenant(moment, settings) := codes(object.union(message(moment), {"tenant": settings}))

test_the_tenants_zone_counts if {
	with_tenant("2026-11-20T21:00:00Z", {"calendar": {"time_zone": "America/New_York"}}) == set()
	with_tenant("2026-11-21T03:00:00Z", {"calendar": {"time_zone": "America/New_York"}}) == {"QUIET_HOURS"}
}

test_the_tenants_own_hours_count if {
	lunch := {"quiet_hours": {"from_minute": 720, "until_minute": 780}}
	with_tenant("2026-11-20T10:59:00Z", lunch) == set()
	with_tenant("2026-11-20T11:00:00Z", lunch) == {"QUIET_HOURS"}
	with_tenant("2026-11-20T12:00:00Z", lunch) == set()
	with_tenant("2026-11-20T23:00:00Z", lunch) == set()
	never := {"quiet_hours": {"from_minute": 0, "until_minute": 0}}
	with_tenant("2026-11-20T23:00:00Z", never) == set()
}

test_emergencies_go_on if {
	every template in {"emergency_glass", "emergency_door"} {
		request := object.union(message("2026-11-20T23:00:00Z"), {"ticket": {"template": template}})
		codes(request) == set()
	}
}

test_a_message_that_waits_for_the_morning_passes if {
	body := {"channel": "sms", "send_at": "2026-11-21T06:00:00Z"}
	codes(ask("comms_outbound", body, "2026-11-20T23:00:00Z")) == set()
	early := {"channel": "sms", "send_at": "2026-11-21T05:59:00Z"}
	codes(ask("comms_outbound", early, "2026-11-20T12:00:00Z")) == {"QUIET_HOURS"}
	past := {"channel": "sms", "send_at": "2026-11-20T12:00:00Z"}
	codes(ask("comms_outbound", past, "2026-11-20T23:00:00Z")) == {"QUIET_HOURS"}
}

test_confirmations_wait_too_and_nothing_else if {
	codes(ask("confirm_schedule", {}, "2026-11-20T23:00:00Z")) == {"QUIET_HOURS"}
	codes(ask("confirm_schedule", {}, "2026-11-20T12:00:00Z")) == set()
	codes(ask("propose_schedule", {}, "2026-11-20T23:00:00Z")) == set()
}

test_days_off_are_quiet_all_day if {
	off := {"calendar": {"days_off": ["2026-12-25"]}}
	with_tenant("2026-12-24T12:00:00Z", off) == set()
	with_tenant("2026-12-24T22:59:59Z", off) == {"QUIET_HOURS"}
	with_tenant("2026-12-24T23:00:00Z", off) == {"QUIET_DAY", "QUIET_HOURS"}
	with_tenant("2026-12-25T12:00:00Z", off) == {"QUIET_DAY"}
}

test_it_says_when_it_would_pass_and_who_may_release_it if {
	hold := data.dispatch.hold with input as message("2026-11-20T22:30:00Z")
	some reason in hold
	reason.message == "From 22:00 to 07:00 (Europe/Amsterdam) customers are left in peace: comms_outbound for template `scheduled_install` would come at 23:30."
	reason.to_pass == "Send it with `send_at` from 07:00 local time, or have it approved by dispatcher or account_manager."
}
