import CSystem
import Glibc

/// The metadata of a file that is to be replaced: owner, group, permissions, access control list, extended attributes.
/// The replacement gives nobody permissions that the file did not give.
struct ReplacedFile {
    /// Open for reading; nil where that is not allowed.
    let descriptor: Int32?
    let status: stat

    private static let accessList = "system.posix_acl_access"
    /// Of the content, or for programs: signatures and capabilities.
    private static let notHandedOn = ["security.capability", "security.evm", "security.ima"]

    /// Gives all of it to a new file, as far as the system allows. False, with errno, where the new file would have other
    /// permissions than it should.
    func hand(to new: Int32) -> Bool {
        let hasGroup = handOwners(to: new)
        let hasList = handAttributes(to: new, withList: hasGroup)
        return handPermissions(to: new, hasGroup: hasGroup, hasList: hasList)
    }

    /// Whether the new file has the old one's group. Owners give files away only as root, groups only to those that they are in.
    private func handOwners(to new: Int32) -> Bool {
        var now = stat()
        guard fstat(new, &now) == 0 else { return false }
        if now.st_uid == status.st_uid && now.st_gid == status.st_gid { return true }
        return fchown(new, status.st_uid, status.st_gid) == 0 || now.st_gid == status.st_gid
            || fchown(new, uid_t.max, status.st_gid) == 0
    }

    /// Whether the access control list is the old file's: the same, or none; nil where the old one cannot be looked at. An
    /// attribute that the system does not take is left.
    private func handAttributes(to new: Int32, withList: Bool) -> Bool? {
        // A list that the new file had from its folder.
        _ = fremovexattr(new, ReplacedFile.accessList)
        guard let descriptor else { return nil }
        var hasList = true
        for name in ReplacedFile.attributes(of: descriptor) where !ReplacedFile.notHandedOn.contains(name) {
            let isList = name == ReplacedFile.accessList
            let isGiven = (!isList || withList) && ReplacedFile.copy(name, from: descriptor, to: new)
            if isList { hasList = isGiven }
        }
        return hasList
    }

    private func handPermissions(to new: Int32, hasGroup: Bool, hasList: Bool?) -> Bool {
        var wanted = status.st_mode & 0o777
        if hasList == false {
            // The list may have denied somebody what others may.
            wanted &= 0o700
        } else if !hasGroup || hasList == nil {
            // Another group is no more than the others were, and those who were in the old group are others now.
            let both = (wanted >> 3) & wanted & 0o7
            wanted = wanted & 0o700 | both << 3 | both
        }
        // Some file systems have one mode for all files and refuse to set it.
        return fchmod(new, wanted) == 0 || hasPermissions(new, wanted)
    }

    private func hasPermissions(_ new: Int32, _ wanted: mode_t) -> Bool {
        let refusal = errno
        var now = stat()
        let isSame = fstat(new, &now) == 0 && now.st_mode & 0o777 == wanted
        errno = refusal
        return isSame
    }

    private static func attributes(of descriptor: Int32) -> [String] {
        let size = flistxattr(descriptor, nil, 0)
        guard size > 0, size <= 1 << 16 else { return [] }
        var names = [CChar](repeating: 0, count: size)
        let length = flistxattr(descriptor, &names, size)
        guard length > 0 else { return [] }
        return names[..<length].split(separator: 0).compactMap {
            String(validating: $0.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }

    private static func copy(_ name: String, from old: Int32, to new: Int32) -> Bool {
        let size = fgetxattr(old, name, nil, 0)
        guard size >= 0, size <= 1 << 16 else { return false }
        var value = [UInt8](repeating: 0, count: max(size, 1))
        let length = fgetxattr(old, name, &value, size)
        return length >= 0 && fsetxattr(new, name, value, length, 0) == 0
    }
}
