//! Each response is read once, also after a stop, and what is in the files is what was read.

use super::*;

/// The only folder in a folder of states.
fn only_folder(folder: &Path) -> std::path::PathBuf {
    let mut folders = folders(folder);
    assert_eq!(folders.len(), 1);
    folders.remove(0)
}

fn folders(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Reads to the end, and gives what `progress` was told.
fn read(table: &mut StateTable, model: &Fake, records: &[LabelRecord]) -> Vec<(usize, usize)> {
    let mut told = Vec::new();
    let whole = block_on(table.read(model, records, |done, all| {
        told.push((done, all));
        true
    }));
    assert!(whole.unwrap());
    told
}

#[test]
fn each_response_is_read_once_and_none_after_the_folder_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let model = Fake::new();
    let mut table = model.table(dir.path());
    assert_eq!((table.hidden(), table.layers()), (0, &LAYERS[..]));
    assert_eq!(
        (table.model(), table.max_tokens()),
        (&*model.id, MAX_TOKENS)
    );
    let mut records = responses(60);
    records.extend(pairs(5));
    // Twice the same, which is read once; and the same response to another prompt, which is not the same.
    records.push(records[3].clone());
    records.push(LabelRecord {
        prompt: "Another question?".to_owned(),
        ..records[3].clone()
    });
    assert_eq!(read(&mut table, &model, &records), [(64, 71), (71, 71)]);
    assert_eq!(model.calls(), 71);
    assert_eq!(read(&mut table, &model, &records), []);
    let mut reopened = model.table(dir.path());
    assert_eq!(read(&mut reopened, &model, &records), []);
    assert_eq!(model.calls(), 71);
    for table in [&table, &reopened] {
        assert_eq!(table.hidden(), HIDDEN);
        for record in &records {
            for text in record.label.responses() {
                let expected = LAYERS.map(|layer| planted_state(layer, text)).concat();
                assert_eq!(table.row(&record.prompt, text), Some(&expected[..]));
            }
        }
        assert_eq!(table.row("Question 3?", "Answer 4."), None);
    }
}

#[test]
fn the_model_is_asked_for_the_response_to_the_prompt_of_the_user() {
    let dir = tempfile::tempdir().unwrap();
    let model = Fake::new();
    read(&mut model.table(dir.path()), &model, &responses(1));
    let expected = StateRequest::new(vec![Message::user("Question 0?")], "Answer 0.", LAYERS)
        .with_max_tokens(MAX_TOKENS);
    assert_eq!(*model.asked.lock().unwrap(), [expected]);
}

#[test]
fn reading_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (model, records) = (Fake::new(), responses(130));
    let mut told = Vec::new();
    let whole = block_on(model.table(dir.path()).read(&model, &records, |done, all| {
        told.push((done, all));
        false
    }));
    assert!(!whole.unwrap());
    assert_eq!((told, model.calls()), (vec![(64, 130)], 64));
    let mut table = model.table(dir.path());
    let there = records.iter().filter(|record| {
        let mut responses = record.label.responses();
        responses.all(|text| table.row(&record.prompt, text).is_some())
    });
    assert_eq!(there.count(), 64);
    assert_eq!(read(&mut table, &model, &records), [(64, 66), (66, 66)]);
    assert_eq!(model.calls(), 130);
    // Who stops when all is read has stopped nothing.
    let more = responses(131);
    assert!(block_on(table.read(&model, &more, |_, _| false)).unwrap());
    read(&mut model.table(dir.path()), &model, &more);
    assert_eq!(model.calls(), 131);
}

#[test]
fn another_model_or_other_layers_have_a_folder_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (model, records) = (Fake::new(), responses(3));
    read(&mut model.table(dir.path()), &model, &records);
    let named = |name: &str, hash: &str| ModelId::new(name).with_hash(hash);
    let same = named("renamed.gguf", "sha256:01");
    let open = |id: &ModelId, layers: &[usize], max_tokens| {
        StateTable::open(dir.path(), id, layers, max_tokens).unwrap()
    };
    assert_eq!(open(&same, &LAYERS, MAX_TOKENS).hidden(), HIDDEN);
    for (count, (id, layers, max_tokens)) in (2..).zip([
        (named("fake.gguf", "sha256:02"), &LAYERS[..], MAX_TOKENS),
        (same.clone().with_adapter("sha256:03"), &LAYERS, MAX_TOKENS),
        (same.clone(), &[2], MAX_TOKENS),
        (same.clone(), &[5, 2], MAX_TOKENS),
        (same.clone(), &LAYERS, MAX_TOKENS + 1),
        // Of which only the name is known.
        (ModelId::new("a.gguf"), &LAYERS, MAX_TOKENS),
        (ModelId::new("b.gguf"), &LAYERS, MAX_TOKENS),
    ]) {
        let table = open(&id, layers, max_tokens);
        assert_eq!(table.row("Question 0?", "Answer 0."), None, "{id:?}");
        assert_eq!(folders(dir.path()).len(), count, "{id:?} {layers:?}");
    }
    assert!(
        open(&same, &LAYERS, MAX_TOKENS)
            .row("Question 0?", "Answer 0.")
            .is_some()
    );
}

#[test]
fn no_text_is_kept_or_printed() {
    let dir = tempfile::tempdir().unwrap();
    let model = Fake::new();
    let mut table = model.table(dir.path());
    read(&mut table, &model, &responses(2));
    let folder = only_folder(dir.path());
    let file = fs::read(folder.join("00000.safetensors")).unwrap();
    let texts = [
        String::from_utf8_lossy(&file).into_owned(),
        format!("{table:?}"),
    ];
    for text in texts {
        assert!(
            !text.contains("Answer") && !text.contains("Question"),
            "{text}"
        );
    }
    assert!(format!("{table:?}").contains("rows: 2"));
}

#[test]
fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (model, records) = (Fake::new(), responses(70));
    read(&mut model.table(dir.path()), &model, &records);
    let path = only_folder(dir.path()).join("00001.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = whole.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    let renamed = |from: &str, to: &str| {
        let text = whole[..header].iter().map(|byte| char::from(*byte));
        let text: String = text.collect();
        with(8, text[8..].replacen(from, to, 1).as_bytes())
    };
    let name = |digits: &str| format!("{{\"{digits}");
    let begin = String::from_utf8(whole[8..14].to_vec()).unwrap();
    let tensor = |values: usize| {
        let bytes = vec![0; 4 * values];
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![values], &bytes);
        safetensors::serialize([("0a".repeat(32), view.unwrap())], None).unwrap()
    };
    for (what, bytes) in [
        ("empty", vec![]),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("something else", b"{\"a\": 1}".to_vec()),
        ("not a number", with(header, &f32::NAN.to_le_bytes())),
        ("endless", with(header, &f32::INFINITY.to_le_bytes())),
        ("a name that is no hash", renamed(&begin, &name("wxyz"))),
        ("another type", renamed("F32", "I32")),
        ("too few values for the layers", tensor(63)),
        ("states of another length", tensor(62)),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = StateTable::open(dir.path(), &model.id, LAYERS, MAX_TOKENS).unwrap_err();
        let Error::Input {
            path: named,
            line,
            reason,
        } = &error
        else {
            panic!("{what}: {error:?}");
        };
        assert_eq!((named, *line), (&path, None), "{what}");
        assert_eq!(reason, "the file of states is damaged; remove it");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(
        read(&mut model.table(dir.path()), &model, &records),
        [(6, 6)]
    );
    assert_eq!(model.calls(), 76);
}

#[test]
fn states_that_are_no_numbers_name_the_model_and_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let broken = Fake::with(move |_, _| vec![value; HIDDEN]);
        let mut table = broken.table(dir.path());
        let error = block_on(table.read(&broken, &responses(3), |_, _| true)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model fake.gguf: the states of a response hold what is no number; its file may be damaged"
        );
        assert_eq!(table.row("Question 0?", "Answer 0."), None);
    }
    let whole = Fake::new();
    read(&mut whole.table(dir.path()), &whole, &responses(3));
    assert_eq!(whole.calls(), 3);
}

#[test]
fn states_of_another_length_name_the_model_and_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    // One response has longer states than the others; or one layer is longer than the other.
    let of_text = Fake::with(|_, text| vec![0.5; text.len()]);
    let of_layer = Fake::with(|layer, _| vec![0.5; layer]);
    for broken in [of_text, of_layer] {
        let mut table = broken.table(dir.path());
        let error = block_on(table.read(&broken, &responses(11), |_, _| true)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model fake.gguf: it gave states of several lengths, or of other layers than it was asked for"
        );
        assert_eq!(table.row("Question 0?", "Answer 0."), None);
        assert!(
            fs::read_dir(only_folder(dir.path()))
                .unwrap()
                .next()
                .is_none()
        );
    }
}

#[test]
fn a_table_takes_no_states_of_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let other = ModelId::new("other.gguf").with_hash("sha256:02");
    let tuned = ModelId::new("tuned.gguf")
        .with_hash("sha256:01")
        .with_adapter("sha256:03");
    for (id, name) in [(other, "other.gguf"), (tuned, "tuned.gguf")] {
        let mut table = Fake::new().table(dir.path());
        let model = Fake::new().named(id);
        let error = block_on(table.read(&model, &responses(1), |_, _| true)).unwrap_err();
        let (field, reason) = reason(error);
        assert_eq!(field, "states");
        assert_eq!(
            reason,
            format!("the folder is for the states of fake.gguf, and these are of {name}")
        );
        assert!(
            fs::read_dir(only_folder(dir.path()))
                .unwrap()
                .next()
                .is_none()
        );
    }
}

#[test]
fn what_was_read_before_the_model_failed_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    // The short texts come last.
    let failing = Fake::answering(|layer, text| {
        if text == "Answer 3." {
            return Err(Error::model("fake.gguf", "it has had enough"));
        }
        Ok(planted_state(layer, text))
    });
    let records = responses(100);
    let mut table = failing.table(dir.path());
    let error = block_on(table.read(&failing, &records, |_, _| true)).unwrap_err();
    assert_eq!(error.to_string(), "model fake.gguf: it has had enough");
    let whole = Fake::new();
    assert_eq!(
        read(&mut whole.table(dir.path()), &whole, &records),
        [(36, 36)]
    );
}
