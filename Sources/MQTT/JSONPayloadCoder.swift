#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Payloads as JSON, by Foundation's coders.
public struct JSONPayloadCoder: PayloadCoder {
    /// JSON with Foundation's defaults.
    public init() {}

    /// `application/json`
    public var contentType: String? { "application/json" }

    /// Keys are sorted: equal values have equal bytes.
    public func encode<Value: Encodable>(_ value: Value) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return ByteBuffer(bytes: try encoder.encode(value))
    }

    /// Throws what Foundation throws.
    public func decode<Value: Decodable>(_ type: Value.Type, from payload: ByteBuffer) throws -> Value {
        try JSONDecoder().decode(type, from: Data(payload.readableBytesView))
    }
}
