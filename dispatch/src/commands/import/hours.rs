//! Working hours as people write them: `mon-fri 08:00-12:00, 13:00-17:00; sat 09:00-12:00`.

use contracts::schedule::WorkCalendar;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EXAMPLE: &str = "mon-fri 08:00-12:00, 13:00-17:00; sat 09:00-12:00, or `always`";

/// The week, Monday first, in minutes after midnight.
pub fn parse(text: &str) -> Result<Vec<Vec<(u16, u16)>>, String> {
    let mut week: Vec<Vec<(u16, u16)>> = vec![Vec::new(); DAYS.len()];
    let text = text.trim().to_ascii_lowercase();
    if text == "always" {
        return Ok(vec![vec![(0, 24 * 60)]; DAYS.len()]);
    }
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (days, hours) = part
            .split_once(' ')
            .ok_or_else(|| format!("`{part}` has no hours; expected {EXAMPLE}"))?;
        let hours: Vec<_> = hours.split(',').map(interval).collect::<Result<_, _>>()?;
        for day in days_of(days)? {
            week[day].extend(&hours);
        }
    }
    for (day, hours) in week.iter_mut().enumerate() {
        hours.sort_unstable();
        if hours.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(format!("the hours of {} overlap", DAYS[day]));
        }
    }
    if week.iter().all(Vec::is_empty) {
        return Err(format!("no hours at all; expected {EXAMPLE}"));
    }
    Ok(week)
}

fn days_of(text: &str) -> Result<std::ops::RangeInclusive<usize>, String> {
    let day = |name: &str| {
        DAYS.iter()
            .position(|day| *day == name.trim())
            .ok_or_else(|| format!("`{name}` is no day: {}", DAYS.join(", ")))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    if first > last {
        return Err(format!(
            "`{text}` runs over the end of the week: write two parts with a `;` between"
        ));
    }
    Ok(first..=last)
}

fn interval(text: &str) -> Result<(u16, u16), String> {
    let text = text.trim();
    let (open, close) = text
        .split_once('-')
        .ok_or_else(|| format!("`{text}` is no time from and to; expected {EXAMPLE}"))?;
    let (open, close) = (minutes(open)?, minutes(close)?);
    if open >= close {
        return Err(format!(
            "`{text}` ends before it begins: write a night as `mon 22:00-24:00; tue 00:00-06:00`"
        ));
    }
    Ok((open, close))
}

fn minutes(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{}` is no time of day from 00:00 to 24:00", text.trim());
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= 24 * 60)
        .then_some(total)
        .ok_or_else(wrong)
}

/// What is wrong with a calendar, if anything is.
pub fn check(calendar: &WorkCalendar) -> Result<(), String> {
    domain::calendar::Calendar::new(calendar)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_day_by_day() {
        let week = parse("Mon-Wed 13:00-17:00, 08:00-12:00; sat 09:00-12:00").unwrap();
        assert_eq!(week[0], [(480, 720), (780, 1020)]);
        assert_eq!(week[2], week[0]);
        assert_eq!(week[3], []);
        assert_eq!(week[5], [(540, 720)]);
        assert_eq!(parse(" always ").unwrap()[6], [(0, 1440)]);
        assert_eq!(parse("sun 00:00-24:00").unwrap()[6], [(0, 1440)]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            ("", "no hours at all"),
            ("mon", "`mon` has no hours"),
            ("monday 08:00-17:00", "`monday` is no day: mon, tue"),
            ("fri-mon 08:00-17:00", "over the end of the week"),
            ("mon 8-17", "`8` is no time of day"),
            ("mon 08:00", "`08:00` is no time from and to"),
            ("mon 22:00-06:00", "ends before it begins"),
            ("mon 08:00-24:01", "`24:01` is no time of day"),
            ("mon 08:60-09:00", "`08:60` is no time of day"),
            ("mon +8:00-09:00", "`+8:00` is no time of day"),
            (
                "mon 08:00-12:00; mon 11:00-13:00",
                "the hours of mon overlap",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_time_zone_must_be_known() {
        let calendar = |zone: &str| WorkCalendar {
            time_zone: zone.to_owned(),
            week: parse("always").unwrap(),
            days_off: Vec::new(),
        };
        assert!(check(&calendar("Europe/Amsterdam")).is_ok());
        assert!(check(&calendar("Europe/Nowhere")).is_err());
    }
}
