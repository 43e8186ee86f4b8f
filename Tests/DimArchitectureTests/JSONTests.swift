import DimArchitecture
import Testing

@Suite struct JSONTests {
    private func parse(_ text: String, bytes: Int = 1000, depth: Int = 16) throws -> JSON {
        try JSON.parse(Array(text.utf8), limits: JSON.Limits(bytes: bytes, depth: depth))
    }

    /// "byte 3: expected ..."; "" for a sound text.
    private func failure(_ bytes: [UInt8], limits: JSON.Limits = JSON.Limits(bytes: 1000, depth: 16)) -> String {
        do {
            _ = try JSON.parse(bytes, limits: limits)
            return ""
        } catch {
            return "\(error)"
        }
    }

    /// One line that has every value, with its kind.
    private func describe(_ json: JSON) -> String {
        switch json.value {
        case .null: "null"
        case .bool(let value): "bool \(value)"
        case .integer(let value): "integer \(value)"
        case .number(let value): "number \(value)"
        case .string(let value): "string \(value)"
        case .array(let list): "[" + list.map(describe).joined(separator: ", ") + "]"
        case .object(let list): "{" + list.map { "\($0.key): \(describe($0.value))" }.joined(separator: ", ") + "}"
        }
    }

    @Test(arguments: [
        ("null", "null"), (" true ", "bool true"), ("\t\r\n false", "bool false"), ("[]", "[]"), ("{ }", "{}"),
        ("0", "integer 0"), ("-0", "integer 0"), ("-17", "integer -17"),
        ("9223372036854775807", "integer 9223372036854775807"),
        ("-9223372036854775808", "integer -9223372036854775808"),
        ("9223372036854775808", "number 9.223372036854776e+18"), ("1.0", "number 1.0"), ("1e2", "number 100.0"),
        ("-1.5E-2", "number -0.015"), ("1e+2", "number 100.0"), ("1e-999", "number 0.0"),
        (#""""#, "string "), (#""a\"\\\/\b\f\n\r\t""#, "string a\"\\/\u{8}\u{C}\n\r\t"),
        (#""\u0041\u00e9\u20AC\uD83D\uDE00\u0000""#, "string Aé€😀\0"), (#""é€😀""#, "string é€😀"),
        (#""\u007f""#, "string \u{7F}"),
        (#"{"b":[1,{"a":null}],"a":"b"}"#, "{b: [integer 1, {a: null}], a: string b}"),
        // Composed and decomposed: two keys.
        (#"{"\u00e9":1,"e\u0301":2}"#, "{é: integer 1, e\u{301}: integer 2}"),
    ])
    func soundTexts(text: String, value: String) throws {
        #expect(try describe(parse(text)).unicodeScalars.elementsEqual(value.unicodeScalars))
    }

    @Test(arguments: [
        ("", 0, "expected a value, found the end of the text"), (" ", 1, "expected a value, found the end of the text"),
        ("\u{FEFF}1", 0, "expected a value, found byte 0xef"), ("nul", 3, "expected null, found the end of the text"),
        ("True", 0, "expected a value, found 'T'"), ("NaN", 0, "expected a value, found 'N'"),
        ("Infinity", 0, "expected a value, found 'I'"), ("-Infinity", 1, "expected a digit, found 'I'"),
        ("01", 1, "expected the end of the text, found '1'"), ("+1", 0, "expected a value, found '+'"),
        (".5", 0, "expected a value, found '.'"), ("1.", 2, "expected a digit, found the end of the text"),
        ("1e", 2, "expected a digit, found the end of the text"),
        ("1e+", 3, "expected a digit, found the end of the text"),
        ("-", 1, "expected a digit, found the end of the text"), ("0x10", 1, "expected the end of the text, found 'x'"),
        ("1e999", 0, "expected a number that a double can hold, found one that is too large"),
        ("[1,]", 3, "expected a value, found ']'"), ("[1 2]", 3, "expected ',' or ']', found '2'"),
        ("[1", 2, "expected ',' or ']', found the end of the text"),
        ("{1:2}", 1, "expected a key in quotes, found '1'"),
        (#"{"a" 1}"#, 5, "expected ':', found '1'"), (#"{"a":1,}"#, 7, "expected a key in quotes, found '}'"),
        (#"{"a":1 "b":2}"#, 7, "expected ',' or '}', found '\"'"),
        (#"{"a":1,"a":2}"#, 7, #"the key "a" is listed twice"#),
        (#"{"a":1,"\u0061":2}"#, 7, #"the key "a" is listed twice"#),
        ("1 // one", 2, "expected the end of the text, found '/'"),
        ("'a'", 0, "expected a value, found '''"), (#""a"#, 2, "expected '\"', found the end of the text"),
        ("\"\n\"", 1, "expected a character; control characters are written as \\u00XX, found byte 0x0a"),
        (#""\x41""#, 2, "expected one of \"\\/bfnrtu behind '\\', found 'x'"),
        (#""\u12G4""#, 5, "expected four hexadecimal digits, found 'G'"),
        (#""\u12"#, 5, "expected four hexadecimal digits, found the end of the text"),
        (#""\ud800""#, 1, "expected a pair of surrogates, found one alone"),
        (#""\udc00""#, 1, "expected a pair of surrogates, found one alone"),
        (#""\ud800\n""#, 1, "expected a pair of surrogates, found one alone"),
        (#""\ud800\ud800""#, 1, "expected a pair of surrogates, found one alone"),
        (#""\"#, 2, "expected a character behind '\\', found the end of the text"),
    ])
    func unsoundTexts(text: String, offset: Int, message: String) {
        #expect(failure(Array(text.utf8)) == "byte \(offset): \(message)", "\(text)")
    }

    @Test func bytesThatAreNoUTF8() {
        for bytes: [UInt8] in [
            [0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xFF],
        ] {
            #expect(failure([0x22] + bytes + [0x22]) == "byte 1: expected a string of UTF-8, found other bytes")
            #expect(failure(bytes + [0x31]).hasPrefix("byte 0: expected a value, found byte 0x"))
        }
        #expect(failure([0x31, 0]) == "byte 1: expected the end of the text, found byte 0x00")
    }

    @Test func limits() throws {
        let nested = { Array((String(repeating: "[", count: $0) + String(repeating: "]", count: $0)).utf8) }
        let message = "expected at most 16 arrays and objects within each other"
        #expect(failure(nested(16)) == "")
        #expect(failure(nested(17)) == "byte 16: \(message)")
        let malformed = Array(String(repeating: "[", count: 65_536).utf8)
        #expect(failure(malformed, limits: JSON.Limits(bytes: 1 << 20, depth: 16)) == "byte 16: \(message)")
        #expect(failure(Array(#"[{"a":[]}]"#.utf8), limits: JSON.Limits(bytes: 20, depth: 3)) == "")
        #expect(failure(Array(#"[{"a":[]}]"#.utf8), limits: JSON.Limits(bytes: 20, depth: 2)).hasPrefix("byte 6: "))
        #expect(failure(Array("[1]".utf8), limits: JSON.Limits(bytes: 3, depth: 1)) == "")
        let short = JSON.Limits(bytes: 2, depth: 1)
        #expect(failure(Array("[1]".utf8), limits: short) == "byte 2: expected at most 2 bytes, found 3")
        // As deep as a caller likes, within reason.
        #expect(failure(nested(400), limits: JSON.Limits(bytes: 1000, depth: 400)) == "")
    }

    @Test func valuesKnowTheirPlace() throws {
        let text = #" {"a": [10, "é"] } "#
        guard case .object(let members) = try parse(text).value, case .array(let list) = members[0].value.value else {
            Issue.record("no array in it")
            return
        }
        let bytes = Array(text.utf8)
        #expect(list.map { String(decoding: bytes[$0.range], as: UTF8.self) } == ["10", "\"é\""])
        #expect(String(decoding: bytes[members[0].value.range], as: UTF8.self) == #"[10, "é"]"#)
    }

    /// Time linear in the text: the worst of 4 MB in well under the seconds that a square would take.
    @Test func longTextsTakeLittle() throws {
        for text in [
            "[" + (0..<400_000).map(String.init).joined(separator: ",") + "]",
            "{" + (0..<200_000).map { "\"key\($0)\":0" }.joined(separator: ",") + "}",
            "\"" + String(repeating: "\\n", count: 1_000_000) + "\"", String(repeating: " ", count: 4_000_000) + "1",
        ] {
            let clock = ContinuousClock()
            let time = try clock.measure { _ = try parse(text, bytes: 1 << 23) }
            #expect(time < .seconds(20))
        }
    }
}
