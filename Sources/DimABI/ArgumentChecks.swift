import DimRuntime
import Glibc

/// The checks of arguments that exported functions share. Inner modules rely on them.

func nonNull<T>(_ pointer: UnsafePointer<T>?, _ name: String) throws -> UnsafePointer<T> {
    guard let pointer else { throw DimError(.invalidArgument, "\(name) is NULL") }
    return pointer
}

func nonNull<T>(_ pointer: UnsafeMutablePointer<T>?, _ name: String) throws -> UnsafeMutablePointer<T> {
    guard let pointer else { throw DimError(.invalidArgument, "\(name) is NULL") }
    return pointer
}

func string(_ pointer: UnsafePointer<CChar>?, _ name: String) throws -> String {
    let text = String(cString: try nonNull(pointer, name))
    if text.isEmpty { throw DimError(.invalidArgument, "\(name) is empty") }
    return text
}

/// Bytes, as the system takes them. What no system call takes is not copied.
func filePath(_ pointer: UnsafePointer<CChar>?, _ name: String) throws -> FilePath {
    let pointer = try nonNull(pointer, name)
    let length = strnlen(pointer, Int(PATH_MAX))
    guard length > 0 else { throw DimError(.invalidArgument, "\(name) is empty") }
    guard length < Int(PATH_MAX) else {
        throw DimError(.io, "\(name): File name too long: expected at most \(PATH_MAX - 1) bytes")
    }
    return FilePath(cString: pointer)
}

/// The largest n of one call. Every size computed from n fits an Int: an array has at most 2^26 floats an image.
let maximumImages = 1 << 20

/// n as the caller's size_t; a value past Int.max arrives negative.
func imageCount(_ n: Int, atLeast minimum: Int = 1, because reason: String = "") throws -> Int {
    guard n != 0 else { throw DimError(.invalidArgument, "n is 0; expected at least \(minimum)") }
    guard n > 0, n <= maximumImages else {
        throw DimError(.tooLarge, "n is \(UInt(bitPattern: n)); one call takes at most \(maximumImages) images")
    }
    guard n >= minimum else {
        throw DimError(
            .invalidArgument, "n is \(n); expected at least \(minimum)" + (reason.isEmpty ? "" : ": " + reason))
    }
    return n
}

/// A caller's struct has the size that this library knows.
func checkSize(_ found: Int, _ expected: Int, _ type: String, advice: String? = nil) throws {
    guard found == expected else {
        let hasInit = type == "dim_trainer_options" || type == "dim_classifier_options"
        let advice = advice ?? (hasInit ? "set the struct by its _init function" : nil)
        throw DimError(
            .invalidArgument,
            "struct_size is \(UInt(bitPattern: found)); expected sizeof(\(type)) = \(expected)"
                + (advice.map { ": " + $0 } ?? ""))
    }
}
