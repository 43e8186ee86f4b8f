import CDim
import DimRuntime
import Glibc

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
