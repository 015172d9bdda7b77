//! Headers that say when to send the next request.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;

/// A number of this size or more is not a wait but a Unix time, in seconds or in milliseconds.
const EPOCH: f64 = 1e9;
const EPOCH_IN_MILLISECONDS: f64 = 1e12;

/// How long to wait: `retry-after-ms` (OpenAI), else `Retry-After` (RFC 9110, section 10.2.3), else the time until the
/// reset of a limit that is used up.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(milliseconds) =
        text(headers, "retry-after-ms").and_then(|text| text.trim().parse::<f64>().ok())
    {
        return seconds(milliseconds / 1000.0);
    }
    text(headers, "retry-after")
        .and_then(|text| wait(text, headers))
        .or_else(|| reset(headers))
}

/// The time until the reset of a limit that is used up, by the header names of OpenAI and the plain ones (OpenRouter,
/// GitHub).
pub(crate) fn reset(headers: &HeaderMap) -> Option<Duration> {
    let limits = ["", "-requests", "-tokens"].into_iter();
    let waits = limits.filter_map(|what| {
        let left = text(headers, &format!("x-ratelimit-remaining{what}"))?;
        // Azure says -1 where it does not count.
        let none_left = left.trim().parse::<f64>().ok()? == 0.0;
        let reset = text(headers, &format!("x-ratelimit-reset{what}")).filter(|_| none_left)?;
        wait(reset, headers)
    });
    waits.max()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Parses a wait: seconds (`20`), a Go duration (`1m30.5s`), a Unix time (GitHub in seconds, OpenRouter in
/// milliseconds), or a date (`Retry-After` in the form of HTTP, Anthropic in that of RFC 3339). A moment is compared
/// with the server's own `Date`, because the local clock may be wrong.
fn wait(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let text = text.trim();
    let moment = match text.parse::<f64>() {
        Ok(number) if number >= EPOCH_IN_MILLISECONDS => number / 1000.0,
        Ok(number) if number >= EPOCH => number,
        Ok(number) => return seconds(number),
        Err(_) => match go(text) {
            Some(wait) => return Some(wait),
            None => http_date(text).or_else(|| rfc_3339(text))?,
        },
    };
    let now = self::text(headers, "date").and_then(http_date)?;
    seconds(moment - now)
}

fn seconds(seconds: f64) -> Option<Duration> {
    // Not `max` at once, which makes 0 of NaN.
    Duration::try_from_secs_f64(if seconds < 0.0 { 0.0 } else { seconds }).ok()
}

/// Parses a Go duration, such as `1m30.5s` or `20ms`.
fn go(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let value = Duration::try_from_secs_f64(value.parse::<f64>().ok()? * unit).ok()?;
        total = total.saturating_add(value);
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Parses an HTTP date into Unix time.
fn http_date(text: &str) -> Option<f64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// Parses a date such as `2026-10-21T07:28:00Z` into Unix time.
fn rfc_3339(text: &str) -> Option<f64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date
        .splitn(3, '-')
        .map(|part| part.parse::<i16>().ok().map(i32::from));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, zone) = time.split_at(time.find(['Z', '+', '-'])?);
    let clock = |text: &str| {
        let parts = text.splitn(3, ':').map(|part| part.parse::<f64>().ok());
        let units = [3600.0, 60.0, 1.0].into_iter();
        parts
            .zip(units)
            .map(|(part, unit)| Some(part? * unit))
            .sum::<Option<f64>>()
    };
    let ahead = match zone.split_at(1) {
        ("Z", "") => 0.0,
        ("+", zone) => clock(zone)?,
        (_, zone) => -clock(zone)?,
    };
    // Days since 1970 in the Gregorian calendar, with years that begin in March: Howard Hinnant, "chrono-Compatible
    // Low-Level Date Algorithms".
    if !(1..=12).contains(&month) {
        return None;
    }
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
            - 719_468;
    Some(f64::from(days) * 86_400.0 + clock(time)? - ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs));
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(&[("retry-after", "0.5")]),
            Some(Duration::from_millis(500))
        );
        assert_eq!(wait(&[("retry-after", "-3")]), Some(Duration::ZERO));
        let date = [
            ("date", "Wed, 21 Oct 2026 07:27:30 GMT"),
            ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ];
        assert_eq!(wait(&date), Some(Duration::from_secs(30)));
        let both = [("retry-after", "7"), ("retry-after-ms", "1500")];
        assert_eq!(wait(&both), Some(Duration::from_millis(1500)));
        for nonsense in ["soon", "", "1e400", "NaN"] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        let of = |text| go(text).map(|time| time.as_secs_f64());
        assert_eq!(of("1m30.5s"), Some(90.5));
        assert_eq!(of("20ms"), Some(0.02));
        assert_eq!(of("2h0m1s"), Some(7201.0));
        for nonsense in ["", "s", "1x", "1m3", "...s"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_limit_of_which_nothing_is_left_begins_anew_in_a_while_or_at_a_moment() {
        let now = ("date", "Wed, 21 Oct 2026 07:27:30 GMT");
        let of = |left: &str, reset: &str| {
            let pairs = [
                now,
                ("x-ratelimit-remaining-tokens", left),
                ("x-ratelimit-reset-tokens", reset),
            ];
            super::reset(&headers(&pairs)).map(|wait| wait.as_secs_f64())
        };
        for reset in [
            "30",
            "30s",
            // In the forms of GitHub, OpenRouter and Anthropic.
            "1792567680",
            "1792567680000",
            "2026-10-21T07:28:00Z",
            "2026-10-21T07:28:00.000Z",
            "2026-10-21T09:28:00+02:00",
            "Wed, 21 Oct 2026 07:28:00 GMT",
        ] {
            assert_eq!(of("0", reset), Some(30.0), "{reset}");
        }
        assert_eq!(of("0", "2024-02-29T23:59:59Z"), Some(0.0), "it is over");
        for nonsense in ["2026-13-21T07:28:00Z", "2026-10-21", "T", "-", "soon"] {
            assert_eq!(of("0", nonsense), None, "{nonsense}");
        }
        // Azure, which does not count.
        assert_eq!(of("-1", "30"), None);
        assert_eq!(of("0.5", "30"), None);
        let openrouter = [
            now,
            ("x-ratelimit-limit", "50"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1792627200000"),
        ];
        let hours = Some(Duration::from_secs(16 * 3600 + 32 * 60 + 30));
        assert_eq!(reset(&headers(&openrouter)), hours);
        assert_eq!(retry_after(&headers(&openrouter)), hours);
        // Without the server's clock a moment says nothing.
        assert_eq!(reset(&headers(&openrouter[1..])), None);
    }

    #[test]
    fn dates_are_counted_in_days() {
        for (date, days) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2026-10-21", 20_747),
            ("2100-03-01", 47_541),
        ] {
            let seconds = rfc_3339(&format!("{date}T00:00:00Z"));
            assert_eq!(seconds, Some(f64::from(days) * 86_400.0), "{date}");
        }
    }
}
