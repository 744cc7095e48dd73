//! `GET /api/v1/technicians/{id}/calendar`

use chrono::{Datelike, Days, NaiveDate};
use contracts::{
    ErrorCode, TechnicianId,
    directory::{CalendarDay, TechnicianCalendar},
    schedule::TimeWindow,
};
use domain::calendar::Calendar;
use store::read::Homes;

use super::{Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, get};

const DEFAULT_DAYS: u64 = 14;
const MOST_DAYS: i64 = 62;

async fn handler(
    PathId(id): PathId<TechnicianId>,
    request: ReadRequest,
) -> Result<Json<TechnicianCalendar>, Failure> {
    let query = request.query(&["from", "to"])?;
    let (from, to) = (query.get("from")?, query.get("to")?);
    let (mut tx, rights) = request.open_with_rights().await?;
    let technician = store::read::technician(&mut tx, id, Homes::None).await?;
    let technician = technician.ok_or_else(|| Failure::no_such("technician"))?;
    let calendar = Calendar::new(&technician.calendar).map_err(Failure::internal)?;

    let from = from.unwrap_or_else(|| calendar.local_date(request.received_at()));
    let to = range(from, to)?;
    let window = TimeWindow {
        start: calendar.begin_of(from),
        end: calendar.begin_of(to),
    };
    let mut absences = store::read::absences(&mut tx, id, &window).await?;
    let visits = store::read::booked_visits(&mut tx, id, &window).await?;
    tx.commit().await?;
    // That somebody is away is for everybody who plans with it; why may say how they are.
    if !rights.may(ReadPermission::Contacts) {
        for absence in &mut absences {
            absence.reason = None;
        }
    }
    Ok(Json(TechnicianCalendar {
        technician_id: id,
        days: from
            .iter_days()
            .take_while(|date| *date < to)
            .map(|date| CalendarDay {
                date,
                working: calendar.hours_of(date),
            })
            .collect(),
        time_zone: technician.calendar.time_zone,
        absences,
        visits,
    }))
}

/// The first date after those that are asked for.
fn range(from: NaiveDate, to: Option<NaiveDate>) -> Result<NaiveDate, Failure> {
    // Arithmetic on days near the ends of the calendar would overflow.
    for (name, date) in [("from", Some(from)), ("to", to)] {
        if date.is_some_and(|date| !(1970..=9998).contains(&date.year())) {
            let detail = format!("`{name}` must lie in the years 1970 to 9998.");
            return Err(Failure::parameter(name, detail));
        }
    }
    let to = to.unwrap_or(from + Days::new(DEFAULT_DAYS));
    match (to - from).num_days() {
        1..=MOST_DAYS => Ok(to),
        _ => Err(Failure::parameter(
            "to",
            format!("`to` must be 1 to {MOST_DAYS} days after `from`; it is not itself shown."),
        )),
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TechnicianCalendar>(
        "get_technician_calendar",
        "/technicians/{id}/calendar",
        get(handler),
    )
    .needs(ReadPermission::Directory)
    .summary("When a technician works, is away and is booked")
    .description(
        "Days are local days of the technician's time zone. Why a technician is away is shown to \
         those who may read contacts.",
    )
    .of::<TechnicianId>("The technician.")
    .query::<NaiveDate>("from", false, "The first day; today without it.")
    .query::<NaiveDate>(
        "to",
        false,
        "The first day not shown, at most 62 after `from`; 14 without it.",
    )
    .problems(&[ErrorCode::NotFound])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_to_62_days() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let from = date("2026-11-21");
        assert_eq!(range(from, None).unwrap(), date("2026-12-05"));
        assert_eq!(
            range(from, Some(date("2026-11-22"))).unwrap(),
            date("2026-11-22")
        );
        assert!(range(from, Some(date("2027-01-22"))).is_ok());
        for to in ["2026-11-21", "2026-11-20", "2027-01-23"] {
            assert!(range(from, Some(date(to))).is_err(), "{to}");
        }
        let last = date("9998-12-31");
        for wild in [NaiveDate::MIN, NaiveDate::MAX, date("9999-01-01")] {
            assert!(range(wild, None).is_err());
            for from in [from, last] {
                let failure = range(from, Some(wild)).unwrap_err();
                assert_eq!(failure.code(), ErrorCode::InvalidParameter, "{wild}");
            }
        }
        // A fortnight from there ends in the next year, which nobody has named.
        assert_eq!(range(last, None).unwrap(), date("9999-01-14"));
    }
}
