use fluke_hpack::Encoder;
use proptest::prelude::*;

use super::*;

const DATA: u8 = 0x0;
const SETTINGS: u8 = 0x4;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A frame as the server reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u8,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHeader { length: payload.len(), kind, flags, stream: [0, 0, 0, stream] }.write(&mut out);
    out.extend_from_slice(payload);
    out
}

fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    bytes = bytes.strip_prefix(PREFACE).expect("a preface");
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = bytes.split_at(HEADER);
        let header = FrameHeader::parse(header).unwrap();
        let (payload, rest) = rest.split_at(header.length);
        let [.., stream] = header.stream;
        frames.push(Frame { kind: header.kind, flags: header.flags, stream, payload: payload.to_vec() });
        bytes = rest;
    }
    frames
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn encode(encoder: &mut Encoder<'_>, fields: &Fields) -> Vec<u8> {
    encoder.encode(fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())))
}

fn kubelet_fields() -> Fields {
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pluginregistration.Registration/GetInfo"),
        (":authority", "%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fcsi.secretfs.dev-reg.sock"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])
}

fn with_localhost(mut fields: Fields) -> Fields {
    for (name, value) in &mut fields {
        if name == b":authority" {
            *value = b"localhost".to_vec();
        }
    }
    fields
}

fn after_preface(parts: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE.to_vec(), parts.concat()].concat()
}

fn rewrite(input: &[u8]) -> Result<Vec<Frame>, Malformed> {
    let mut out = Vec::new();
    Rewriter::new().feed(input, &mut out)?;
    Ok(frames(&out))
}

/// The header list of the single block in `frames`, decoded with an empty table.
fn header_list(frames: &[Frame]) -> Fields {
    let block: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.clone()).collect();
    Decoder::new().decode(&block).unwrap()
}

#[test]
fn the_path_of_a_socket_becomes_localhost_and_nothing_else_changes() {
    let block = encode(&mut Encoder::new(), &kubelet_fields());
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let data = frame(DATA, END_STREAM, 1, b"message");
    let input = after_preface(&[settings, frame(HEADERS, END_HEADERS, 1, &block), data]);

    let frames = rewrite(&input).unwrap();

    assert_eq!(frames.iter().map(|f| f.kind).collect::<Vec<_>>(), [SETTINGS, HEADERS, DATA]);
    assert_eq!(header_list(&frames[1..2]), with_localhost(kubelet_fields()));
    assert_eq!((frames[1].flags, frames[1].stream), (END_HEADERS, 1));
    assert_eq!((frames[2].flags, frames[2].payload.as_slice()), (END_STREAM, &b"message"[..]));
}

#[test]
fn empty_frames_are_passed_on() {
    let acknowledged = frame(SETTINGS, 1, 0, &[]);
    let ended = frame(DATA, END_STREAM, 1, &[]);

    let frames = rewrite(&after_preface(&[acknowledged, ended])).unwrap();

    assert_eq!(
        frames.iter().map(|f| (f.kind, f.flags)).collect::<Vec<_>>(),
        [(SETTINGS, 1), (DATA, END_STREAM)]
    );
}

#[test]
fn a_second_call_is_understood_through_the_table_of_the_first() {
    let mut encoder = Encoder::new();
    let first = encode(&mut encoder, &kubelet_fields());
    let second = encode(&mut encoder, &kubelet_fields());
    assert!(second.len() < first.len(), "the encoder refers to what it sent before");
    let calls = [frame(HEADERS, END_HEADERS, 1, &first), frame(HEADERS, END_HEADERS, 3, &second)];

    let frames = rewrite(&after_preface(&calls)).unwrap();

    assert_eq!(header_list(&frames[1..]), with_localhost(kubelet_fields()));
}

#[test]
fn padding_and_priority_are_taken_off() {
    let block = encode(&mut Encoder::new(), &kubelet_fields());
    let payload = [&[3][..], &[0x80, 0, 0, 0, 16], &block, &[0; 3]].concat();
    let flags = END_HEADERS | END_STREAM | PADDED | PRIORITY;

    let frames = rewrite(&after_preface(&[frame(HEADERS, flags, 1, &payload)])).unwrap();

    assert_eq!(frames[0].flags, END_HEADERS | END_STREAM);
    assert_eq!(header_list(&frames), with_localhost(kubelet_fields()));
}

#[test]
fn a_block_in_three_frames_is_one_block() {
    let block = encode(&mut Encoder::new(), &kubelet_fields());
    let (head, tail) = block.split_at(7);
    let parts = [
        frame(HEADERS, END_STREAM, 5, head),
        frame(CONTINUATION, 0, 5, &[]),
        frame(CONTINUATION, END_HEADERS, 5, tail),
    ];

    let frames = rewrite(&after_preface(&parts)).unwrap();

    assert_eq!((frames.len(), frames[0].flags), (1, END_HEADERS | END_STREAM));
    assert_eq!(header_list(&frames), with_localhost(kubelet_fields()));
}

#[test]
fn a_block_that_grows_beyond_a_frame_is_continued() {
    let mut list = kubelet_fields();
    list.push((b"x-long".to_vec(), vec![b'v'; 40_000]));
    let block = encode(&mut Encoder::new(), &list);
    let mut parts: Vec<_> = block.chunks(MAX_FRAME).map(|chunk| frame(CONTINUATION, 0, 1, chunk)).collect();
    parts[0][3] = HEADERS;
    parts.push(frame(CONTINUATION, END_HEADERS, 1, &[]));

    let frames = rewrite(&after_preface(&parts)).unwrap();

    assert_eq!(frames.iter().map(|f| f.kind).collect::<Vec<_>>(), [HEADERS, CONTINUATION, CONTINUATION]);
    assert_eq!(frames.iter().map(|f| f.flags).collect::<Vec<_>>(), [0, 0, END_HEADERS]);
    assert!(frames.iter().all(|f| f.payload.len() <= MAX_FRAME));
    assert_eq!(header_list(&frames), with_localhost(list));
}

#[test]
fn an_empty_header_block_is_passed_on_at_once() {
    let frames = rewrite(&after_preface(&[frame(HEADERS, END_HEADERS, 1, &[])])).unwrap();

    assert_eq!((frames.len(), frames[0].payload.len()), (1, 0));
}

#[test]
fn lengths_around_the_prefix_of_an_integer_are_encoded_right() {
    for length in [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 60_000] {
        let list = vec![(b"x".to_vec(), vec![b'v'; length])];
        let block = encode(&mut Encoder::new(), &list);

        let rewritten = block::rewrite(&mut block::decoder(), &block).unwrap();

        assert_eq!(Decoder::new().decode(&rewritten).unwrap(), list, "{length}");
    }
}

#[test]
fn what_is_no_http2_is_refused_at_its_first_wrong_byte() {
    assert_eq!(rewrite(b"GET / HTTP/1.1\r\n"), Err(Malformed::Preface));
}

#[test]
fn frames_beyond_16_kib_are_refused_before_they_are_read() {
    let header = [0, 0x40, 1, DATA, 0, 0, 0, 0, 1];
    assert_eq!(rewrite(&after_preface(&[header.to_vec()])), Err(Malformed::FrameSize));
}

#[test]
fn frames_out_of_order_are_refused() {
    let begun = frame(HEADERS, 0, 1, &[]);
    for next in [
        frame(DATA, 0, 1, b"x"),
        frame(HEADERS, END_HEADERS, 3, &[]),
        frame(CONTINUATION, END_HEADERS, 3, &[]),
    ] {
        assert_eq!(rewrite(&after_preface(&[begun.clone(), next])), Err(Malformed::Continuation));
    }
    let alone = frame(CONTINUATION, END_HEADERS, 1, &[]);
    assert_eq!(rewrite(&after_preface(&[alone])), Err(Malformed::Continuation));
}

#[test]
fn padding_and_priority_that_do_not_fit_are_refused() {
    for (flags, payload) in
        [(PADDED, &[][..]), (PADDED, &[2, 0]), (PRIORITY, &[0; 4]), (PADDED | PRIORITY, &[1, 0, 0, 0, 0, 0])]
    {
        let input = after_preface(&[frame(HEADERS, END_HEADERS | flags, 1, payload)]);
        assert_eq!(rewrite(&input), Err(Malformed::Truncated), "{flags:#x} {payload:?}");
    }
}

#[test]
fn a_block_that_unpacks_beyond_its_bound_is_refused() {
    let mut encoder = Encoder::new();
    let long = vec![(b"x".to_vec(), vec![b'v'; 4000])];
    let mut block = encode(&mut encoder, &long);
    // Index 62 is the first entry of the dynamic table: one byte stands for 4 KiB.
    block.extend_from_slice(&[0x80 | 62; 1000]);

    let input = after_preface(&[frame(HEADERS, END_HEADERS, 1, &block)]);

    assert_eq!(rewrite(&input), Err(Malformed::HeaderList));
}

#[test]
fn a_block_that_never_ends_is_refused() {
    let mut input = after_preface(&[frame(HEADERS, 0, 1, &[0; MAX_FRAME])]);
    for _ in 0..4 {
        input.extend(frame(CONTINUATION, 0, 1, &[0; MAX_FRAME]));
    }
    assert_eq!(rewrite(&input), Err(Malformed::HeaderList));
}

#[test]
fn a_table_larger_than_the_server_allows_is_refused() {
    // A table size update to 8,192.
    let block = [0x3f, 0xe1, 0x3f, 0x82];
    let input = after_preface(&[frame(HEADERS, END_HEADERS, 1, &block)]);
    assert_eq!(rewrite(&input), Err(Malformed::Compression));
}

#[test]
fn a_table_made_smaller_is_obeyed() {
    let mut encoder = Encoder::new();
    let first = encode(&mut encoder, &kubelet_fields());
    // A table size of 0 and then of 4,096 empties the table. Index 62 then refers to nothing.
    let second = [0x20, 0x3f, 0xe1, 0x1f, 0x80 | 62];
    let calls = [frame(HEADERS, END_HEADERS, 1, &first), frame(HEADERS, END_HEADERS, 3, &second)];
    assert_eq!(rewrite(&after_preface(&calls)), Err(Malformed::Compression));
}

fn any_call() -> impl Strategy<Value = Fields> {
    let field = ("[a-z-]{1,20}", "[ -~]{0,200}").prop_map(|(n, v)| (n.into_bytes(), v.into_bytes()));
    prop::collection::vec(field, 0..12).prop_map(|more| [kubelet_fields(), more].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn how_the_bytes_arrive_makes_no_difference(
        calls in prop::collection::vec(any_call(), 1..4),
        cuts in prop::collection::vec(1_usize..60, 1..40),
    ) {
        let mut encoder = Encoder::new();
        let mut input = PREFACE.to_vec();
        for call in &calls {
            input.extend(frame(HEADERS, END_HEADERS, 1, &encode(&mut encoder, call)));
            input.extend(frame(DATA, 0, 1, b"message"));
            input.extend(frame(DATA, END_STREAM, 1, &[]));
        }
        let mut whole = Vec::new();
        Rewriter::new().feed(&input, &mut whole).unwrap();

        let mut rewriter = Rewriter::new();
        let (mut pieces, mut rest) = (Vec::new(), input.as_slice());
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            rewriter.feed(piece, &mut pieces).unwrap();
            rest = after;
            if rest.is_empty() { break }
        }

        prop_assert_eq!(&pieces, &whole);
        let lists: Vec<_> = frames(&whole).chunks(3).map(|f| header_list(&f[..1])).collect();
        prop_assert_eq!(lists, calls.into_iter().map(with_localhost).collect::<Vec<_>>());
    }

    #[test]
    fn anything_can_be_fed_and_little_is_kept(
        kinds in prop::collection::vec((0_u8..12, any::<u8>(), 0_u8..3, prop::collection::vec(any::<u8>(), 0..80)), 0..12),
    ) {
        let mut input = PREFACE.to_vec();
        for (kind, flags, stream, payload) in &kinds {
            input.extend(frame(*kind, *flags, *stream, payload));
        }
        let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());

        let _ = rewriter.feed(&input, &mut out);

        prop_assert!(rewriter.partial.capacity() <= 2 * MAX_FRAME);
        prop_assert!(out.starts_with(PREFACE));
    }
}
