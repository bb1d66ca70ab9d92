use super::*;

/// Checks the list that these entries of an AppSpec file become for an object of
/// this mode, in the form of `getfacl`.
fn check(acls: &str, mode: u32, access: &[&str], default: &[&str]) {
    let text = format!(
        "version: 0.0\nos: linux\npermissions:\n  - object: /a\n    type: [directory]\n    acls: {acls}\n"
    );
    let parsed = proto::appspec::parse("appspec.yml", text.as_bytes()).expect("a good AppSpec file");
    let mut problems = Vec::new();
    let entries = entries(&parsed.appspec.permissions[0], &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    let list = |is_default| {
        let rows = complete(entries.iter().filter(|entry| entry.is_default == is_default), mode);
        rows.into_iter()
            .map(|(tag, id, bits)| {
                format!("{tag:?}{} {bits}", id.map_or(String::new(), |id| format!(" {id}")))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(list(false), access, "{acls}");
    if !default.is_empty() {
        assert_eq!(list(true), default, "{acls}");
    }
}

#[test]
fn what_a_list_leaves_open_comes_from_the_mode() {
    check(
        "[\"u:1234:rw\", \"g:root:r\"]",
        0o644,
        &["Owner 6", "User 1234 6", "OwningGroup 4", "Group 0 4", "Mask 4", "Other 4"],
        &[],
    );
    check(
        "[\"1234:7\", \"m::r\"]",
        0o640,
        &["Owner 6", "User 1234 7", "OwningGroup 4", "Mask 4", "Other 0"],
        &[],
    );
    check(
        "[\"d:u:1234:rwx\", \"u:1234:rx\"]",
        0o755,
        &["Owner 7", "User 1234 5", "OwningGroup 5", "Mask 5", "Other 5"],
        &["Owner 7", "User 1234 7", "OwningGroup 5", "Mask 5", "Other 5"],
    );
}

#[test]
fn the_kernel_takes_the_list() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let entry = |is_default, tag, id| Entry { is_default, tag, id, bits: 5, name: String::new() };
    let entries = [entry(false, Tag::User, Some(1234)), entry(true, Tag::Group, Some(1234))];
    let object = File::open(dir.path()).expect("opened");
    match set(&object, &entries) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            println!("skipped: needs a file system with access control lists");
        }
        result => {
            result.expect("set");
            let mut value = [0; 256];
            let length = rustix::fs::getxattr(dir.path(), c"system.posix_acl_access", &mut value[..]);
            assert_eq!(length.expect("there"), 4 + 5 * 8);
            set(&object, &entries[..1]).expect("set again");
            let gone = rustix::fs::getxattr(dir.path(), c"system.posix_acl_default", &mut value[..]);
            assert_eq!(gone, Err(rustix::io::Errno::NODATA));
        }
    }
}
