//! Which of the forms that we can give a client would have (RFC 9110 section 12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The one of these media types that `Accept` likes best; of equals the first.
///
/// Also the first for a client that takes none of them: section 12.5.1 lets a server treat a resource as if it were not
/// subject to negotiation, as the rest of this service does.
pub fn preferred<'a>(headers: &HeaderMap, offers: &[&'a str]) -> &'a str {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(MediaRange::parse).collect();
    let mut best = (offers.first().copied().unwrap_or_default(), 0.0);
    for offer in offers {
        // The narrowest range that fits says how much it is wanted.
        let fitting = ranges.iter().filter(|range| range.fits(offer));
        let weight = fitting.max_by_key(|range| range.breadth()).map_or(0.0, |range| range.weight);
        if weight > best.1 {
            best = (offer, weight);
        }
    }
    best.0
}

/// `text/csv`, `text/*` or `*/*`, and its weight. Other parameters than `q` tell nothing about forms of ours.
struct MediaRange<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f32,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // What is no weight asks for nothing.
        let weight =
            weight.map_or(Some(1.0), |weight| weight.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)));
        Some(Self { kind, subtype, weight: weight.unwrap_or(0.0) })
    }

    fn fits(&self, offer: &str) -> bool {
        let fits = |range: &str, name: &str| range == "*" || range.eq_ignore_ascii_case(name);
        offer.split_once('/').is_some_and(|(kind, subtype)| fits(self.kind, kind) && fits(self.subtype, subtype))
    }

    /// How narrow it is: the greater, the narrower.
    fn breadth(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_most_wanted_form_is_given_and_the_first_to_everybody_else() {
        let offers = ["application/json", "application/x-ndjson", "text/csv"];
        for (accept, given) in [
            ("", 0),
            ("*/*", 0),
            ("application/*", 0),
            ("text/csv", 2),
            ("TEXT/CSV; charset=utf-8", 2),
            ("text/*", 2),
            ("application/x-ndjson, */*;q=0.1", 1),
            ("text/csv;q=0.5, application/x-ndjson;q=0.8", 1),
            ("*/*, application/json;q=0", 1),
            ("*/*;q=0.5, application/json;q=0.1, application/x-ndjson;q=0.2", 2),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 0),
            ("text/csv;q=0, text/*", 0),
            ("text/csv;q=2", 0),
            ("text/csv;q=much", 0),
            ("text/csv;q=NaN", 0),
            ("image/png", 0),
            ("nonsense", 0),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(preferred(&headers, &offers), offers[given], "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &offers), offers[0]);
    }
}
