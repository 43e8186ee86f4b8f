/// A parsed JSON text (RFC 8259) with the places of its values. Strict: UTF-8, no duplicate keys, nothing after the
/// value, exact integers. For untrusted text: no recursion beyond the limit, time and memory linear in the text.
package struct JSON: Sendable {
    package enum Value: Sendable {
        case null
        case bool(Bool)
        /// Written without fraction and exponent, and within Int.
        case integer(Int)
        /// Every other number; finite.
        case number(Double)
        case string(String)
        case array([JSON])
        /// In the text's order.
        case object([(key: String, value: JSON)])
    }

    package let value: Value
    /// Bytes of the text.
    package let range: Range<Int>

    /// What was found, for a message: at most 40 characters of the text that this was parsed from.
    package func found(in text: [UInt8]) -> String {
        switch value {
        case .array: "an array"
        case .object: "an object"
        case .string(let string): quoted(string)
        default: String(decoding: text[range].prefix(40), as: UTF8.self)
        }
    }

    package struct Limits: Sendable {
        let bytes: Int
        /// Arrays and objects within each other.
        let depth: Int

        package init(bytes: Int, depth: Int) { (self.bytes, self.depth) = (bytes, depth) }
    }

    package struct Failure: Error, Equatable, CustomStringConvertible {
        /// Of the first byte that does not fit.
        package let offset: Int
        package let text: String

        package var description: String { "byte \(offset): \(text)" }
    }

    package static func parse(_ text: [UInt8], limits: Limits) throws -> JSON {
        guard text.count <= limits.bytes else {
            throw Failure(offset: limits.bytes, text: "expected at most \(limits.bytes) bytes, found \(text.count)")
        }
        var parser = JSONParser(text: text, maximumDepth: limits.depth)
        return try parser.document()
    }
}

private struct JSONParser {
    let text: [UInt8]
    let maximumDepth: Int
    var at = 0

    mutating func document() throws -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        if at < text.count { throw expected("the end of the text") }
        return value
    }

    // MARK: Bytes

    /// nil at the end.
    private var byte: UInt8? { at < text.count ? text[at] : nil }

    private func expected(_ what: String) -> JSON.Failure {
        JSON.Failure(offset: at, text: "expected \(what), found \(found)")
    }

    private var found: String {
        guard let byte else { return "the end of the text" }
        if (33..<127).contains(byte) { return "'\(Character(UnicodeScalar(byte)))'" }
        let digits = String(byte, radix: 16)
        return "byte 0x" + (digits.count == 1 ? "0" : "") + digits
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func skip(_ wanted: Character) -> Bool {
        guard byte == wanted.asciiValue else { return false }
        at += 1
        return true
    }

    private mutating func skipDigits() -> Int {
        let start = at
        while let byte, (0x30...0x39).contains(byte) { at += 1 }
        return at - start
    }

    // MARK: Values

    private mutating func value(depth: Int) throws -> JSON {
        skipSpace()
        let start = at
        let value: JSON.Value
        switch byte {
        case UInt8(ascii: "{"): value = .object(try object(depth: depth))
        case UInt8(ascii: "["): value = .array(try array(depth: depth))
        case UInt8(ascii: "\""): value = .string(try string())
        case UInt8(ascii: "t"): value = try word("true", .bool(true))
        case UInt8(ascii: "f"): value = try word("false", .bool(false))
        case UInt8(ascii: "n"): value = try word("null", .null)
        case .some(0x2D), .some(0x30...0x39): value = try number()
        default: throw expected("a value")
        }
        return JSON(value: value, range: start..<at)
    }

    private mutating func word(_ word: String, _ value: JSON.Value) throws -> JSON.Value {
        for wanted in word.utf8 {
            guard byte == wanted else { throw expected(word) }
            at += 1
        }
        return value
    }

    private mutating func enter(_ depth: Int) throws {
        guard depth < maximumDepth else {
            throw JSON.Failure(
                offset: at, text: "expected at most \(maximumDepth) arrays and objects within each other")
        }
        at += 1
        skipSpace()
    }

    private mutating func array(depth: Int) throws -> [JSON] {
        try enter(depth)
        var elements: [JSON] = []
        if skip("]") { return elements }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if skip("]") { return elements }
            guard skip(",") else { throw expected("',' or ']'") }
        }
    }

    private mutating func object(depth: Int) throws -> [(key: String, value: JSON)] {
        try enter(depth)
        var members: [(key: String, value: JSON)] = []
        if skip("}") { return members }
        // By bytes: String holds composed and decomposed letters equal, JSON does not.
        var keys: Set<[UInt8]> = []
        while true {
            skipSpace()
            guard byte == UInt8(ascii: "\"") else { throw expected("a key in quotes") }
            let start = at
            let key = try string()
            guard keys.insert(Array(key.utf8)).inserted else {
                throw JSON.Failure(offset: start, text: "the key \(quoted(key)) is listed twice")
            }
            skipSpace()
            guard skip(":") else { throw expected("':'") }
            members.append((key, try value(depth: depth + 1)))
            skipSpace()
            if skip("}") { return members }
            guard skip(",") else { throw expected("',' or '}'") }
        }
    }

    private mutating func number() throws -> JSON.Value {
        let start = at
        var isInteger = true
        _ = skip("-")
        if !skip("0") {
            guard skipDigits() > 0 else { throw expected("a digit") }
        }
        if skip(".") {
            isInteger = false
            guard skipDigits() > 0 else { throw expected("a digit") }
        }
        if skip("e") || skip("E") {
            isInteger = false
            if !skip("+") { _ = skip("-") }
            guard skipDigits() > 0 else { throw expected("a digit") }
        }
        let literal = String(decoding: text[start..<at], as: UTF8.self)
        if isInteger, let integer = Int(literal) { return .integer(integer) }
        guard let number = Double(literal), number.isFinite else {
            throw JSON.Failure(
                offset: start, text: "expected a number that a double can hold, found one that is too large")
        }
        return .number(number)
    }

    // MARK: Strings

    private mutating func string() throws -> String {
        at += 1
        let start = at
        var bytes: [UInt8] = []
        while let next = byte, next != UInt8(ascii: "\"") {
            guard next >= 0x20 else { throw expected("a character; control characters are written as \\u00XX") }
            at += 1
            if next == UInt8(ascii: "\\") {
                bytes += try escape()
            } else {
                bytes.append(next)
            }
        }
        guard byte != nil else { throw expected("'\"'") }
        guard let string = String(validating: bytes, as: UTF8.self) else {
            throw JSON.Failure(offset: start, text: "expected a string of UTF-8, found other bytes")
        }
        at += 1
        return string
    }

    /// By the letter behind the backslash: "\/bfnrt.
    private static let escapes: [UInt8: UInt8] = [
        34: 34, 92: 92, 47: 47, 98: 8, 102: 12, 110: 10, 114: 13, 116: 9,
    ]

    /// Behind the backslash.
    private mutating func escape() throws -> [UInt8] {
        guard let letter = byte else { throw expected("a character behind '\\'") }
        let start = at - 1
        if letter != UInt8(ascii: "u") {
            guard let plain = JSONParser.escapes[letter] else { throw expected("one of \"\\/bfnrtu behind '\\'") }
            at += 1
            return [plain]
        }
        var code = try fourDigits()
        if (0xD800..<0xDC00).contains(code), skip("\\"), byte == UInt8(ascii: "u") {
            let low = try fourDigits()
            guard (0xDC00..<0xE000).contains(low) else { throw loneSurrogate(start) }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = UnicodeScalar(code) else { throw loneSurrogate(start) }
        return Array(String(scalar).utf8)
    }

    private func loneSurrogate(_ offset: Int) -> JSON.Failure {
        JSON.Failure(offset: offset, text: "expected a pair of surrogates, found one alone")
    }

    /// Behind the u, which `at` is at.
    private mutating func fourDigits() throws -> UInt32 {
        at += 1
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte, let digit = Character(UnicodeScalar(byte)).hexDigitValue, byte < 0x80 else {
                throw expected("four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            at += 1
        }
        return code
    }
}
