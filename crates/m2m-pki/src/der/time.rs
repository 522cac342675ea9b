//! Times of RFC 5280 §4.1.2.5: `UTCTime` through 2049, `GeneralizedTime` from 2050, always with
//! seconds and always in `Z`.

use m2m_types::Timestamp;

use super::{DerError, GENERALIZED_TIME, Reader, UTC_TIME, write};

/// The form that the year decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Utc,
    Generalized,
}

const FIRST_GENERALIZED_YEAR: u64 = 2050;

/// Reads a `Time`: the form has to be the one its year asks for.
#[inline]
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Timestamp, DerError> {
    let (form, year, time) = read_form(reader)?;
    let is_late = year >= FIRST_GENERALIZED_YEAR;
    if is_late != (form == Form::Generalized) {
        return Err(DerError::Time);
    }
    Ok(time)
}

/// Whether a `Time` comes next.
pub(crate) fn is_next(reader: &Reader<'_>) -> bool {
    matches!(reader.peek(), Some(UTC_TIME | GENERALIZED_TIME))
}

/// Reads a time in either form, whatever its year.
pub(crate) fn read_either(reader: &mut Reader<'_>) -> Result<Timestamp, DerError> {
    read_form(reader).map(|(_, _, time)| time)
}

#[inline]
fn read_form(reader: &mut Reader<'_>) -> Result<(Form, u64, Timestamp), DerError> {
    match reader.any()? {
        (UTC_TIME, content) => {
            let [y1, y2, rest @ ..] = content else {
                return Err(DerError::Time);
            };
            let short = two(*y1, *y2)?;
            let year = if short < 50 { 2000 } else { 1900 } + short;
            Ok((Form::Utc, year, within_year(year, rest)?))
        }
        (GENERALIZED_TIME, content) => {
            let [y1, y2, y3, y4, rest @ ..] = content else {
                return Err(DerError::Time);
            };
            let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
            Ok((Form::Generalized, year, within_year(year, rest)?))
        }
        (found, _) => Err(DerError::Tag {
            expected: UTC_TIME,
            found,
        }),
    }
}

/// The time that `MMDDHHMMSSZ` is in `year`.
#[inline]
fn within_year(year: u64, rest: &[u8]) -> Result<Timestamp, DerError> {
    let &[m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = rest else {
        return Err(DerError::Time);
    };
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range || year < 1970 {
        return Err(DerError::Time);
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Timestamp::from_unix_seconds(seconds).map_err(|_| DerError::Time)
}

#[inline]
const fn two(tens: u8, ones: u8) -> Result<u64, DerError> {
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return Err(DerError::Time);
    }
    Ok((tens - b'0') as u64 * 10 + (ones - b'0') as u64)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counted in years that begin in March so that the leap day comes last.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    const DAYS_TO_MARCH_OF_YEAR_0: u64 = 719_468;
    let (year, months_since_march) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * months_since_march + 2) / 5 + day - 1 - DAYS_TO_MARCH_OF_YEAR_0
}

/// Appends a `Time` in the form its year asks for.
pub(crate) fn write(time: Timestamp, out: &mut Vec<u8>) {
    let digits = digits(time);
    match digits.split_at_checked(2) {
        Some((b"19", short)) => write::element(UTC_TIME, short, out),
        Some((b"20", short)) if short < b"50".as_slice() => write::element(UTC_TIME, short, out),
        _ => write::element(GENERALIZED_TIME, &digits, out),
    }
}

/// Appends a `GeneralizedTime`, as `invalidityDate` has it whatever the year (RFC 5280 §5.3.2).
pub(crate) fn write_generalized(time: Timestamp, out: &mut Vec<u8>) {
    write::element(GENERALIZED_TIME, &digits(time), out);
}

/// `YYYYMMDDHHMMSSZ`: RFC 3339 without what separates.
fn digits(time: Timestamp) -> Vec<u8> {
    let mut digits: Vec<u8> = time.to_string().into_bytes();
    digits.retain(|byte| byte.is_ascii_digit());
    digits.push(b'Z');
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tag: u8, text: &str) -> Result<u64, DerError> {
        let mut bytes = Vec::new();
        write::element(tag, text.as_bytes(), &mut bytes);
        read(&mut Reader::new(&bytes)).map(Timestamp::unix_seconds)
    }

    #[test]
    fn the_form_is_the_one_the_year_asks_for() {
        assert_eq!(parse(UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(parse(UTC_TIME, "231114221320Z"), Ok(1_700_000_000));
        assert_eq!(parse(UTC_TIME, "491231235959Z"), Ok(2_524_607_999));
        assert_eq!(
            parse(GENERALIZED_TIME, "20500101000000Z"),
            Ok(2_524_608_000)
        );
        assert_eq!(
            parse(GENERALIZED_TIME, "99991231235959Z"),
            Ok(253_402_300_799)
        );
        for wrong in [
            "20491231235959Z",
            "20500101000000.5Z",
            "20500101000000+0000",
            "20500229000000Z",
            "20501301000000Z",
            "20500101240000Z",
            "20500101000060Z",
            "205001010000Z",
            "2050010100000aZ",
        ] {
            assert_eq!(
                parse(GENERALIZED_TIME, wrong),
                Err(DerError::Time),
                "{wrong}"
            );
        }
        for wrong in ["691231235959Z", "2311142213Z", "231114221320", ""] {
            assert_eq!(parse(UTC_TIME, wrong), Err(DerError::Time), "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [
            0,
            946_684_799,
            951_827_696,
            2_524_607_999,
            2_524_608_000,
            4_107_542_400,
            Timestamp::MAX.unix_seconds(),
        ] {
            let time = Timestamp::from_unix_seconds(seconds).unwrap();
            let mut bytes = Vec::new();
            write(time, &mut bytes);
            assert_eq!(read(&mut Reader::new(&bytes)), Ok(time));
        }
    }
}
