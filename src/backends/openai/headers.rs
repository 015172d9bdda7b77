//! What servers say in headers about when to come again.

use std::time::Duration;

use http::HeaderMap;

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3), which is compared with the server's own `Date`. OpenAI's
/// `retry-after-ms` is more exact where it stands.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    if let Some(milliseconds) = text(headers, "retry-after-ms").and_then(number) {
        return Some(milliseconds.div_f64(1000.0));
    }
    let value = text(headers, "retry-after")?;
    number(value).or_else(|| {
        // Without the server's clock a date says nothing: the clock here may be wrong.
        let date = |text: &str| httpdate::parse_http_date(text).ok();
        let now = text(headers, "date").and_then(date)?;
        Some(date(value)?.duration_since(now).unwrap_or_default())
    })
}

/// The time until a limit on `what` begins anew, if nothing of it is left.
pub(super) fn exhausted(headers: &HeaderMap, what: &str) -> Option<Duration> {
    let left = text(headers, &format!("x-ratelimit-remaining-{what}"))?;
    if left.trim().parse::<f64>().ok()? > 0.0 {
        return None;
    }
    duration(text(headers, &format!("x-ratelimit-reset-{what}"))?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Seconds as a plain number.
fn number(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    // Not `max` at once, which makes 0 of NaN.
    Duration::try_from_secs_f64(if seconds < 0.0 { 0.0 } else { seconds }).ok()
}

/// A time as Go writes it, such as `1m30.5s` or `20ms`, or plain seconds.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Some(seconds) = number(rest) {
        return Some(seconds);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let value = Duration::try_from_secs_f64(value.parse::<f64>().ok()? * seconds).ok()?;
        total = total.saturating_add(value);
        rest = tail;
    }
    Some(total)
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
        let of = |text| duration(text).map(|time| time.as_secs_f64());
        assert_eq!(of("1m30.5s"), Some(90.5));
        assert_eq!(of("20ms"), Some(0.02));
        assert_eq!(of("2h0m1s"), Some(7201.0));
        assert_eq!(of("12"), Some(12.0));
        for nonsense in ["s", "1x", "1m3", "...s"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }
}
