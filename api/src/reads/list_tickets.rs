//! `GET /api/v1/tickets`

use chrono::{DateTime, Utc};
use contracts::{
    Priority, SiteId, TechnicianId, TemplateId, TicketState,
    event::WaitingFor,
    read::{IdOrCode, TicketFilter, TicketPage, TicketSort},
};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};
use crate::{
    request::Query,
    shapes::{CodeOrId, Rows, Several, Text},
};

const MAX_LIMIT: u32 = 200;
/// Characters of a text to search for.
const MAX_TEXT: usize = 100;

async fn handler(request: ReadRequest) -> Result<Json<TicketPage>, Failure> {
    let query = request.query(&[
        "state",
        "priority",
        "incident_type",
        "template",
        "waiting_for",
        "site",
        "site_id",
        "technician",
        "due_before",
        "q",
        "sort",
        "counts",
        "cursor",
        "limit",
    ])?;
    let filter = TicketFilter {
        state: query.words("state")?,
        priority: query.words("priority")?,
        incident_type: query.list(either(&query, "incident_type", "template")?)?,
        waiting_for: query.words("waiting_for")?,
        site: site(&query)?,
        technician: query.get("technician")?,
        due_before: query.get("due_before")?,
        q: text(&query)?,
        sort: query.word("sort")?.unwrap_or_default(),
        counts: query.get("counts")?.unwrap_or_default(),
        cursor: request.cursor(&query)?,
        limit: query.limit(MAX_LIMIT)?,
    };
    let mut tx = request.open().await?;
    let mut page = store::read::tickets(&mut tx, &filter).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

/// The name under which a parameter was given: the one of today or the one of version 0.1.0.
fn either(query: &Query, name: &'static str, old: &'static str) -> Result<&'static str, Failure> {
    let given = |name| Ok::<_, Failure>(query.get::<String>(name)?.is_some());
    match (given(name)?, given(old)?) {
        (true, true) => Err(Failure::parameter(
            old,
            format!("`{old}` is the older name of `{name}`: give one of them."),
        )),
        (false, true) => Ok(old),
        _ => Ok(name),
    }
}

fn site(query: &Query) -> Result<Option<IdOrCode<SiteId>>, Failure> {
    match either(query, "site", "site_id")? {
        "site" => query.get("site"),
        old => Ok(query.get(old)?.map(IdOrCode::Id)),
    }
}

fn text(query: &Query) -> Result<Option<String>, Failure> {
    let text: Option<String> = query.get("q")?;
    // Counted as it was sent, as in the document; blanks around it are not looked for.
    let wrong = |text: &String| text.trim().is_empty() || text.chars().count() > MAX_TEXT;
    if text.as_ref().is_some_and(wrong) {
        let detail = format!(
            "`q` must be 1 to {MAX_TEXT} characters, blanks around it included, and not blank."
        );
        return Err(Failure::parameter("q", detail));
    }
    Ok(text.map(|text| text.trim().to_owned()))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TicketPage>("list_tickets", "/tickets", get(handler))
        .needs(ReadPermission::Tickets)
        .summary("List tickets")
        .description(
            "All given filters must hold; several values of one, separated by commas, are \
             alternatives. A page looks at no more than 5000 tickets, so it may be short, even \
             empty, and still have a `next_cursor`: the list ends where there is none. A cursor \
             belongs to its filters and order. `template` and `site_id` are the names that \
             `incident_type` and `site` had in version 0.1.0; they go on working.",
        )
        .query::<Several<TicketState>>("state", false, "Only these states.")
        .query::<Several<Priority>>("priority", false, "Only these priorities.")
        .query::<Several<TemplateId>>("incident_type", false, "Only these kinds of incident.")
        .query::<Several<TemplateId>>("template", false, "The older name of `incident_type`.")
        .query::<Several<WaitingFor>>("waiting_for", false, "Only what waits for one of these.")
        .query::<CodeOrId<SiteId>>("site", false, "Only this site: its id or its code.")
        .query::<SiteId>("site_id", false, "The older name of `site`.")
        .query::<CodeOrId<TechnicianId>>(
            "technician",
            false,
            "Only what this technician is sent to on the current visit: their id or their code.",
        )
        .query::<DateTime<Utc>>(
            "due_before",
            false,
            "Only tickets whose nearest running deadline is before this instant.",
        )
        .query::<Text<MAX_TEXT>>(
            "q",
            false,
            "Only what this text names. The beginning of a ticket's id, the last eight digits of \
             one or the number of an invoice find just that; any other text is looked for in the \
             codes of site and asset and in the words of the details. Contacts, notes and messages \
             are not searched: they are personal data.",
        )
        .query::<TicketSort>(
            "sort",
            false,
            "`newest` first, as without it, or the nearest running deadline first (`due`), which \
             leaves out tickets without one.",
        )
        .query::<bool>(
            "counts",
            false,
            "`true`: also how many tickets the filters leave, by state, on all pages. No more than \
             10000 are looked at; `complete` says whether that was all.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}

#[cfg(test)]
mod tests {
    use contracts::ErrorCode;
    use http::Request;

    use super::*;

    fn asked(q: &str) -> Result<Option<String>, Failure> {
        let uri = format!("/x?q={q}");
        let (parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        text(&Query::read(&parts, &["q"]).unwrap())
    }

    #[test]
    fn a_text_is_counted_as_it_is_sent_and_is_not_blank() {
        let most = "x".repeat(MAX_TEXT);
        assert_eq!(asked(&most).unwrap(), Some(most.clone()));
        let umlauts = "%C3%BC".repeat(MAX_TEXT);
        assert_eq!(asked(&umlauts).unwrap(), Some("ü".repeat(MAX_TEXT)));
        assert_eq!(asked("%20a+b%09").unwrap().as_deref(), Some("a b"));
        for wrong in [
            "",
            "+",
            "%20%C2%A0",
            &format!("{most}x"),
            &format!("+{most}"),
        ] {
            let failure = asked(wrong).unwrap_err();
            assert_eq!(failure.code(), ErrorCode::InvalidParameter, "{wrong}");
        }
    }
}
