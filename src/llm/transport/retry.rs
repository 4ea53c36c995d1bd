//! When a request is tried again, and after which pause.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::response::ResponseHead;
use super::settings::HttpSettings;

/// How long to wait before the next attempt; `None` if there is to be none.
pub(super) fn pause_before_retry(
    head: &ResponseHead,
    retries: u32,
    settings: &HttpSettings,
) -> Option<Duration> {
    let again = match head.header("x-should-retry") {
        _ if head.is_success() => return None,
        Some("true") => true,
        Some("false") => false,
        _ => matches!(head.status, 408 | 409 | 429 | 500..),
    };
    match wished_pause(head, SystemTime::now()) {
        Some(pause) if pause > settings.max_retry_delay.as_secs_f64() => None,
        _ if !again => None,
        Some(pause) => Some(Duration::from_secs_f64(pause)),
        None => Some(backoff(retries)),
    }
}

/// The seconds that the server wants to be left alone; above zero.
fn wished_pause(head: &ResponseHead, now: SystemTime) -> Option<f64> {
    let number = |name| head.header(name)?.trim().parse::<f64>().ok();
    let wished = number("retry-after-ms")
        .map(|milliseconds| milliseconds / 1000.0)
        .or_else(|| number("retry-after"))
        .or_else(|| {
            let date = http_date(head.header("retry-after")?)?;
            let now = now.duration_since(UNIX_EPOCH).ok()?;
            Some(date - now.as_secs_f64())
        });
    wished.filter(|seconds| *seconds > 0.0)
}

/// Half a second, doubled with each retry up to eight seconds, made up to a quarter shorter so that
/// many clients do not come back all at once.
pub(super) fn backoff(retries: u32) -> Duration {
    let longest = (0.5 * 2f64.powi(retries.min(16) as i32)).min(8.0);
    let random = RandomState::new().hash_one(retries) as f64 / u64::MAX as f64;
    Duration::from_secs_f64(longest * (1.0 - 0.25 * random))
}

/// The seconds since 1970 of a date such as `Fri, 20 Nov 2026 08:29:25 GMT`, or in one of the older forms
/// of HTTP, `Friday, 20-Nov-26 08:29:25 GMT` and `Fri Nov 20 08:29:25 2026`.
fn http_date(text: &str) -> Option<f64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let text = text.split_once(", ").map_or(text, |(_, rest)| rest);
    let is_space = |letter: char| letter.is_ascii_whitespace() || letter == '-';
    let words: Vec<&str> = text
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    let (day, month, year, time) = match words[..] {
        [day, month, year, time, "GMT" | "UTC" | "+0000"] => (day, month, year, time),
        [_, month, day, time, year] if time.contains(':') => (day, month, year, time),
        _ => return None,
    };
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = MONTHS
        .find(month)
        .filter(|at| at % 3 == 0 && month.len() == 3)? as i64
        / 3
        + 1;
    let year: i64 = match year.parse().ok()? {
        year @ 0..70 => year + 2000,
        year @ 70..100 => year + 1900,
        year @ 1970..10_000 => year,
        _ => return None,
    };
    let clock: Option<Vec<i64>> = time.split(':').map(|part| part.parse().ok()).collect();
    let [hours @ 0..24, minutes @ 0..60, seconds @ 0..=60] = clock?[..] else {
        return None;
    };
    // The days before a date, counted from March so that a leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days - 719_468;
    Some((((since_1970 * 24 + hours) * 60 + minutes) * 60 + seconds) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
        let headers = headers.iter();
        ResponseHead {
            status,
            headers: headers
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            attempts: 1,
        }
    }

    #[test]
    fn statuses_and_hints_decide_about_retries() {
        let settings = HttpSettings::default();
        let pause = |status, headers: &[_]| {
            let pause = pause_before_retry(&head(status, headers), 0, &settings)?;
            Some((pause.as_secs_f64() * 1000.0).round() as u64)
        };

        for status in [408, 409, 429, 500, 503, 529, 599] {
            assert!(
                pause(status, &[]).is_some_and(|ms| (375..=500).contains(&ms)),
                "{status}"
            );
        }
        for status in [200, 204, 304, 400, 401, 403, 404, 413, 422] {
            assert_eq!(pause(status, &[]), None, "{status}");
        }
        let ms = ("retry-after-ms", "20");
        assert_eq!(pause(400, &[("x-should-retry", "true"), ms]), Some(20));
        assert_eq!(pause(500, &[("x-should-retry", "false"), ms]), None);
        assert_eq!(pause(200, &[("x-should-retry", "true"), ms]), None);
        assert_eq!(pause(429, &[ms, ("retry-after", "5")]), Some(20));
        assert_eq!(
            pause(429, &[("retry-after-ms", "x"), ("retry-after", "1.5")]),
            Some(1500)
        );
        assert_eq!(pause(429, &[("retry-after", "120")]), Some(120_000));
        for too_long in ["120.5", "3600", "inf", "1e300"] {
            let headers = [("x-should-retry", "true"), ("retry-after", too_long)];
            assert_eq!(pause(429, &headers), None, "{too_long}");
        }
        for nothing in ["0", "-1", "NaN", "soon", "Fri, 20 Nov 2020 08:29:25 GMT"] {
            let pause = pause(429, &[("retry-after", nothing)]);
            assert!(
                pause.is_some_and(|ms| (375..=500).contains(&ms)),
                "{nothing}"
            );
        }
    }

    #[test]
    fn dates_are_counted_from_1970() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
            ("Fri, 20 Nov 2026 08:29:25 GMT", Some(1_795_163_365.0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199.0)),
            ("29 Feb 2024 23:59:59 +0000", Some(1_709_251_199.0)),
            ("Friday, 20-Nov-26 08:29:25 GMT", Some(1_795_163_365.0)),
            ("Fri Nov 20 08:29:25 2026", Some(1_795_163_365.0)),
            ("Thu Jan  1 00:00:00 1970", Some(0.0)),
            ("Fri, 99 Nov 2026 08:29:25 GMT", None),
            ("Fri, 20 Nov 2026 99:29:25 GMT", None),
            ("Fri, 20 Nov 2026 08:99:25 GMT", None),
            ("Fri, 20 Nov 2026 08:29:99 GMT", None),
            ("Thu, 29 Feb 2024 23:59:59 CET", None),
            ("Thu, 29 anF 2024 23:59:59 GMT", None),
            ("Thu, 29 Feb 99999999999999999 23:59:59 GMT", None),
            ("tomorrow", None),
        ] {
            assert_eq!(http_date(date), seconds, "{date}");
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_795_163_360);
        let answer = head(429, &[("retry-after", "Fri, 20 Nov 2026 08:29:25 GMT")]);
        assert_eq!(wished_pause(&answer, now), Some(5.0));
    }

    #[test]
    fn pauses_grow_and_are_capped() {
        for (retries, longest) in [
            (0, 0.5),
            (1, 1.0),
            (2, 2.0),
            (4, 8.0),
            (5, 8.0),
            (u32::MAX, 8.0),
        ] {
            let pause = backoff(retries).as_secs_f64();
            assert!(
                pause <= longest && pause >= longest * 0.75,
                "{retries}: {pause}"
            );
        }
    }
}
