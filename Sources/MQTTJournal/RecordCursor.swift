import MQTTPackets
import MQTTStore
import NIOCore

/// Reads the body of a record. What is not there reads as 0 and leaves `isBad`, to be asked once at the end.
struct RecordCursor {
    let bytes: UnsafeRawBufferPointer
    var at: Int
    let end: Int
    private(set) var isBad = false

    init(_ bytes: UnsafeRawBufferPointer, from start: Int, to end: Int) {
        self.bytes = bytes
        at = start
        self.end = min(end, bytes.count)
    }

    var remaining: Int { end - at }

    mutating func integer<Integer: FixedWidthInteger>(_ type: Integer.Type = Integer.self) -> Integer {
        guard remaining >= MemoryLayout<Integer>.size else {
            isBad = true
            at = end
            return 0
        }
        defer { at += MemoryLayout<Integer>.size }
        return Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: Integer.self))
    }

    mutating func part(_ count: Int) -> UnsafeRawBufferPointer {
        guard count <= remaining else {
            isBad = true
            at = end
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        defer { at += count }
        return UnsafeRawBufferPointer(rebasing: bytes[at..<(at + count)])
    }

    mutating func skip(_ count: Int) { _ = part(count) }
    mutating func text(_ count: Int) -> String { String(decoding: part(count), as: UTF8.self) }
    mutating func rest() -> String { text(remaining) }
    /// A string behind its length of two bytes.
    mutating func text() -> String { text(Int(integer(UInt16.self))) }
    mutating func buffer(_ count: Int) -> ByteBuffer { ByteBuffer(bytes: part(count)) }

    mutating func subscription() -> StoredSubscription {
        let identifier: UInt32 = integer()
        let options = SubscriptionOptions(byte: integer(), version: .v5)
        if options == nil { isBad = true }
        return StoredSubscription(
            filter: text(),
            options: options ?? SubscriptionOptions(),
            identifier: identifier
        )
    }

    mutating func will() -> Will {
        let flags: UInt8 = integer()
        let topic = text()
        let propertyBytes = buffer(Int(integer(UInt32.self)))
        let payload = buffer(Int(integer(UInt32.self)))
        guard let qos = QoS(rawValue: flags & 3) else {
            isBad = true
            return Will(topic: topic, payload: payload)
        }
        var properties = Properties()
        do {
            let span = propertyBytes.readableBytesUInt8Span
            properties = try Properties(decoding: span, span.indices, in: .will)
        } catch {
            isBad = true
        }
        return Will(topic: topic, payload: payload, qos: qos, isRetained: flags & 4 != 0, properties: properties)
    }

    mutating func replay() -> StoredReplay {
        let versionMax: UInt64 = integer()
        let sequence: UInt64 = integer()
        let subscription = subscription()
        return StoredReplay(subscription: subscription, versionMax: versionMax, through: text(), sequence: sequence)
    }

    /// What a record of receivers says of one of them.
    struct Receiver {
        var incarnation: UInt64
        var number: UInt64
        var flags: UInt8
        /// What stands between the flags and the next receiver.
        var extra: Range<Int>

        var qos: QoS { QoS(rawValue: flags & 3) ?? .atLeastOnce }
        var isRetained: Bool { flags & 4 != 0 }
        var hasExtra: Bool { flags & 8 != 0 }
        var bytes: Int { JournalFormat.receiverBytes + extra.count }
    }

    mutating func receiver() -> Receiver {
        let incarnation: UInt64 = integer()
        let number: UInt64 = integer()
        let flags: UInt8 = integer()
        let start = at
        if flags & 8 != 0 {
            skip(Int(integer(UInt32.self)) * MemoryLayout<UInt32>.size)
            skip(Int(integer(UInt16.self)))
        }
        return Receiver(incarnation: incarnation, number: number, flags: flags, extra: start..<at)
    }

    /// The identifiers and the shared filter of a receiver that was just read.
    func extra(of receiver: Receiver) -> (identifiers: [UInt32], sharedFilter: String) {
        guard receiver.hasExtra else { return ([], "") }
        var part = RecordCursor(bytes, from: receiver.extra.lowerBound, to: receiver.extra.upperBound)
        let count = Int(part.integer(UInt32.self))
        let identifiers = (0..<count).map { _ in part.integer(UInt32.self) }
        return (identifiers, part.text())
    }
}

/// The head of a record.
struct RecordHead {
    /// Of the whole record.
    let bytes: Int
    let checksum: UInt32
    let kind: JournalFormat.Kind

    /// Nil where no record stands at `offset`. Its checksum has yet to be looked at.
    init?(unchecked bytes: UnsafeRawBufferPointer, at offset: Int) {
        guard offset + JournalFormat.recordHeadBytes <= bytes.count else { return nil }
        let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        guard length > 0, let kind = JournalFormat.Kind(rawValue: bytes[offset + 8]) else { return nil }
        self.bytes = 8 + length
        checksum = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
        self.kind = kind
    }

    /// Nil where no record stands at `offset`, or the bytes do not have its checksum.
    init?(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        self.init(unchecked: bytes, at: offset)
        guard offset + self.bytes <= bytes.count else { return nil }
        let content = UnsafeRawBufferPointer(rebasing: bytes[(offset + 8)..<(offset + self.bytes)])
        guard JournalFormat.checksum(content) == checksum else { return nil }
    }

    /// The body of the record at `offset`.
    func body(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> RecordCursor {
        RecordCursor(bytes, from: offset + JournalFormat.recordHeadBytes, to: offset + self.bytes)
    }

    /// The checksum of all heads up to this one.
    func chained(_ chain: UInt32) -> UInt32 { Self.chained(chain, length: UInt32(bytes - 8), checksum: checksum) }

    static func chained(_ chain: UInt32, length: UInt32, checksum: UInt32) -> UInt32 {
        var word = (UInt64(length) << 32 | UInt64(checksum)).bigEndian
        return withUnsafeBytes(of: &word) { JournalFormat.checksum($0, after: chain) }
    }
}
