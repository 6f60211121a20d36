//! How a client's program is stored. Browsers say the same hundred bytes over and over, a third of what an event takes on the disk;
//! what they all say is stored as one byte.
//!
//! A table of agents would save as much, but it would be asked before every batch, strangers could fill it, and it would still know
//! an agent that tells of a person when that person's events are cleared.

use std::borrow::Cow;

/// What browsers say, and the byte that stands for it: a control character, which no header has (RFC 9110 section 5.5).
///
/// Rows hold these bytes: an entry is never changed, and a new one gets a byte of its own. Applied from the first to the last.
const PHRASES: [(char, &str); 16] = [
    ('\x01', "Mozilla/5.0 ("),
    ('\x02', ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/"),
    ('\x03', ".0.0.0 Mobile Safari/537.36"),
    ('\x04', ".0.0.0 Safari/537.36"),
    ('\x05', "Windows NT 10.0; Win64; x64"),
    ('\x06', "Macintosh; Intel Mac OS X 10"),
    ('\x07', "X11; Linux x86_64"),
    ('\x08', "Linux; Android 10; K"),
    ('\x0e', " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/"),
    ('\x0f', "iPhone; CPU iPhone OS "),
    ('\x10', " Mobile/15E148 Safari/604.1"),
    ('\x11', ") AppleWebKit/605.1.15 (KHTML, like Gecko) Version/"),
    ('\x12', " Safari/605.1.15"),
    ('\x13', ") Gecko/20100101 Firefox/"),
    ('\x14', "; rv:"),
    ('\x15', " Edg/"),
];

/// An agent as it is stored. What would be taken for a phrase becomes a space.
pub fn short(agent: &str) -> Cow<'_, str> {
    let is_phrase = |letter| phrase(letter).is_some();
    // Others say too little for a look to be worth it.
    let is_browser = agent.starts_with(PHRASES[0].1);
    if !is_browser && !agent.contains(is_phrase) {
        return agent.into();
    }
    let mut short = agent.replace(is_phrase, " ");
    if is_browser {
        for (byte, phrase) in PHRASES {
            short = short.replace(phrase, byte.encode_utf8(&mut [0; 4]));
        }
    }
    short.into()
}

/// An agent as it was sent.
pub fn long(stored: &str) -> String {
    let mut long = String::with_capacity(stored.len());
    for letter in stored.chars() {
        match phrase(letter) {
            Some(phrase) => long.push_str(phrase),
            None => long.push(letter),
        }
    }
    long
}

/// What this byte stands for, if it stands for something.
fn phrase(letter: char) -> Option<&'static str> {
    PHRASES.iter().find(|(byte, _)| *byte == letter).map(|(_, phrase)| *phrase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn browsers_are_stored_in_a_few_bytes_that_always_mean_the_same() {
        for (agent, stored) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
                "\x01\x05\x02126\x04",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 \
                 Edg/126.0.0.0",
                "\x01\x05\x02126\x04\x15126.0.0.0",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
                "\x01\x08\x02126\x03",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "\x01\x07\x14127.0\x13127.0"),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
                "\x01\x06_15_7\x1117.5\x12",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Mobile/15E148 Safari/604.1",
                "\x01\x0f17_5\x0e17.5\x10",
            ),
            ("curl/7.88.1", "curl/7.88.1"),
            ("", ""),
        ] {
            assert_eq!(short(agent), stored, "{agent}");
            assert_eq!(long(stored), agent);
        }
    }

    #[test]
    fn no_agent_can_say_a_phrase_in_another_way() {
        assert_eq!(long(&short("Mozilla/5.0 (\x01\x02\t)")), "Mozilla/5.0 (  \t)");
        assert_eq!(long(&short("\x01")), " ");
    }

    proptest! {
        #[test]
        fn every_agent_is_read_as_it_was_sent(parts in prop::collection::vec((0..PHRASES.len(), "[ -~é]{0,9}"), 0..9)) {
            let said: String = parts.iter().map(|(number, other)| format!("{}{other}", PHRASES[*number].1)).collect();
            for agent in [said.clone(), format!("Mozilla/5.0 ({said}")] {
                prop_assert_eq!(long(&short(&agent)), agent);
            }
        }
    }
}
