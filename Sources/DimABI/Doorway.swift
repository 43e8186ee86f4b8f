import CDim
import DimModel
import DimRuntime
import Glibc

/// The checks that every exported function shares. Nothing behind this file meets a fact that was not proved here.

/// Runs a fallible call in the library's floating-point environment: errors become a status and this thread's message.
func fallible(_ body: () throws -> Void) -> dim_status {
    do {
        try FloatingPoint.defined(body)
        return DIM_OK
    } catch let error as DimError {
        ThreadText.lastError.set(error.message)
        return dim_status(rawValue: error.code.rawValue)
    } catch {
        ThreadText.lastError.set("internal error: \(error)")
        return DIM_INTERNAL
    }
}

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

/// A step that a fork cut off has left the trainer between two steps.
func requireUnbroken(_ lock: Lock) throws {
    guard !lock.wasAbandoned else {
        throw DimError(
            .invalidHandle,
            "trainer cannot be used here: this process was forked while another thread was in a call on it")
    }
}

/// The largest n of one call. Every size computed from n fits an Int: an array has at most 2^26 floats an image.
let maximumImages = 1 << 20

func maximumImages(of model: Model) -> Int { maximumImages }

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

/// A C string per thread that lives until the thread sets the next one.
struct ThreadText {
    static let lastError = ThreadText()
    static let buildInfo = ThreadText()

    private let key: pthread_key_t

    private init() {
        var key = pthread_key_t()
        pthread_key_create(&key) { free($0) }
        self.key = key
    }

    func set(_ text: String) {
        let old = pthread_getspecific(key)
        guard let copy = strdup(text) else { return }  // out of memory: the older text stays
        pthread_setspecific(key, copy)
        free(old)
    }

    /// Nil where this thread has set none.
    var pointer: UnsafePointer<CChar>? {
        pthread_getspecific(key).map { UnsafePointer($0.assumingMemoryBound(to: CChar.self)) }
    }
}

/// Text that lives as long as the process.
final class StaticText {
    let pointer: UnsafePointer<CChar>
    init(_ text: String) {
        let bytes = Array(text.utf8CString)
        let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
        copy.initialize(from: bytes, count: bytes.count)
        pointer = UnsafePointer(copy)
    }
}
