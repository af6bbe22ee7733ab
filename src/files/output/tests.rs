//! Tests of outputs: what is replaced, what is written into, what is refused.

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    write_bytes_atomic(&path, b"old").unwrap();
    let failed = write_atomic(&path, |out| {
        out.write_all(b"half")?;
        Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
    });
    assert_eq!(failed.unwrap_err().kind(), crate::error::Kind::Io);
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_result_has_the_permissions_of_any_other_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, plain, private] = ["ours", "plain", "private"].map(|name| folder.path().join(name));
    write_bytes_atomic(&ours, b"x").unwrap();
    std::fs::write(&plain, b"x").unwrap();
    assert_eq!(mode(&ours), mode(&plain));
    write_bytes_private(&private, b"x").unwrap();
    assert_eq!(mode(&private) & 0o077, 0);
}

#[test]
fn a_replaced_file_keeps_its_permissions_and_a_protected_one_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    for kept in [0o600, 0o640, 0o664] {
        std::fs::write(&path, b"old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(kept)).unwrap();
        check_output(&path).unwrap();
        write_bytes_atomic(&path, b"new").unwrap();
        assert_eq!((mode(&path), std::fs::read(&path).unwrap()), (kept, b"new".to_vec()));
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    for refused in [check_output(&path), write_bytes_atomic(&path, b"newer")] {
        let error = refused.unwrap_err();
        assert!(error.kind() == Kind::Io && error.to_string().contains("protected"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_link_stays_and_its_target_is_written() {
    use std::os::unix::fs::symlink;
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("big")).unwrap();
    std::fs::write(at("big/old"), b"old").unwrap();
    symlink("big/old", at("there")).unwrap();
    symlink("big/new", at("dangling")).unwrap();
    symlink("dangling", at("twice")).unwrap();
    symlink("made/on/the/way", at("deep")).unwrap();
    for (link, target) in
        [("there", "big/old"), ("dangling", "big/new"), ("twice", "big/new"), ("deep", "made/on/the/way")]
    {
        check_output(&at(link)).unwrap();
        write_bytes_atomic(&at(link), link.as_bytes()).unwrap();
        assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link}");
        assert!(at(target).symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_to_string(at(target)).unwrap(), link);
    }
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();
    for refused in [check_output(&at("a")), write_bytes_atomic(&at("a"), b"x")] {
        let error = refused.unwrap_err();
        assert!(error.kind() == Kind::Io && error.to_string().contains("circle"), "{error}");
    }
}

#[test]
fn devices_and_pipes_are_written_into() {
    let home = tempfile::tempdir().unwrap();
    let null = Path::new("/dev/null");
    check_output(null).unwrap();
    write_bytes_atomic(null, b"nobody reads this").unwrap();
    assert!(null.symlink_metadata().unwrap().file_type().is_char_device());
    let full = write_bytes_atomic(Path::new("/dev/full"), b"x").unwrap_err();
    assert!(full.kind() == Kind::Io && full.to_string().contains("/dev/full: No space left"), "{full}");
    let pipe = home.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // A check must not open it: its reader would see an empty output.
    check_output(&pipe).unwrap();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    write_bytes_atomic(&pipe, &[7; 200_000]).unwrap();
    assert_eq!(reader.join().unwrap(), [7; 200_000]);
    assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn what_cannot_be_written_is_named_as_the_user_named_it() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("file"), b"kept").unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let long = "x".repeat(300);
    let cases: [(PathBuf, Kind); 9] = [
        (PathBuf::new(), Kind::Usage),
        (PathBuf::from("."), Kind::Usage),
        (PathBuf::from("/"), Kind::Usage),
        (at("folder"), Kind::Usage),
        (at("new/"), Kind::Usage),
        (at("file/below"), Kind::Io),
        (at("file/far/below"), Kind::Io),
        (at(&long), Kind::Io),
        (PathBuf::from("/proc/result"), Kind::Io),
    ];
    for (path, kind) in cases {
        for refused in [check_output(&path), write_bytes_atomic(&path, b"x")] {
            let error = refused.unwrap_err();
            let text = error.to_string();
            assert!(error.kind() == kind && text.contains(&*path.to_string_lossy()), "{text}");
            assert!(!text.contains(".tmp-"), "{text}");
        }
    }
    assert_eq!(std::fs::read(at("file")).unwrap(), b"kept");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2);
    for (path, kind) in [("", Kind::Usage), ("file", Kind::Usage), ("file/below", Kind::Io)] {
        let path = if path.is_empty() { PathBuf::new() } else { at(path) };
        assert_eq!(check_output_folder(&path).unwrap_err().kind(), kind);
    }
    assert_eq!(check_output_folder(Path::new("/proc/none")).unwrap_err().kind(), Kind::Io);
    for path in [".", "folder", "folder/", "folders/made"] {
        check_output_folder(&at(path)).unwrap();
    }
    check_output(&at("folders/that/are/made/result")).unwrap();
    assert!(!at("folders").exists());
}

#[test]
fn an_output_that_is_an_input_is_refused_however_it_is_spelt() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::write(at("input"), b"kept").unwrap();
    std::fs::write(at("other"), b"kept").unwrap();
    std::os::unix::fs::symlink("input", at("link")).unwrap();
    std::fs::hard_link(at("input"), at("twin")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    let inputs = [at("nothing"), at("input")];
    let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
    for output in ["input", "./input", "folder/../input", "link", "twin"] {
        let error = check_apart(&at(output), &inputs).unwrap_err();
        assert!(error.kind() == Kind::Usage && error.to_string().contains(output), "{error}");
    }
    for output in ["other", "new"] {
        check_apart(&at(output), &inputs).unwrap();
    }
    check_apart(Path::new("/dev/null"), &[Path::new("/dev/null")]).unwrap();
}
