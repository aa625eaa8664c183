import CApusPlatform

/// The numbers of the format; docs/journal-format.md describes it.
enum JournalFormat {
    static let magic: UInt64 = 0x4150_5553_4A52_4E4C  // APUSJRNL
    static let version: UInt32 = 1
    /// magic 8, version 4, segment 4, epoch 8, entropy 8, checksum 4
    static let headerBytes = 36
    /// length 4, checksum 4, kind 1; the length is that of kind and body
    static let recordHeadBytes = 9
    /// The end mark: batch 8, bytes 4, chain 4, check 4
    static let endMarkBytes = recordHeadBytes + 20
    /// A record of receivers without any: distance 4, receivers 4.
    static let receiversHeadBytes = recordHeadBytes + 8
    /// incarnation 8, number 8, flags 1
    static let receiverBytes = 17

    enum Kind: UInt8 {
        case endMark = 0
        case broker, began, expiry, connected, disconnected, ended, session
        case will, willCleared, subscribed, unsubscribed
        case message, receivers, sendMark, received, finished, retired
        case packetReceived, packetReleased
        case retained, retainedCleared
        case replay, replayEnded, replayPulled
        case firstSegment
        case index
    }

    /// CRC-32C of what `crc` is the checksum of and these bytes.
    static func checksum(_ bytes: UnsafeRawBufferPointer, after crc: UInt32 = 0) -> UInt32 {
        guard let base = bytes.baseAddress else { return crc }
        return apus_crc32c(crc, base, bytes.count)
    }

    /// What an end mark says of its batch, where it stands: only there, and only once, it is right.
    static func check(seed: UInt32, batch: UInt64, offset: Int, bytes: UInt32, chain: UInt32) -> UInt32 {
        var words = (batch.bigEndian, UInt64(offset).bigEndian, UInt64(bytes) << 32 | UInt64(chain))
        words.2 = words.2.bigEndian
        return withUnsafeBytes(of: &words) { checksum($0, after: seed) }
    }

    static func segmentName(_ number: UInt32) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits + ".journal"
    }

    /// Nil where a name is not that of a segment.
    static func segmentNumber(_ name: String) -> UInt32? {
        guard name.hasSuffix(".journal"), let number = UInt32(name.dropLast(8)), segmentName(number) == name else {
            return nil
        }
        return number
    }
}

/// A topic, filter or client identifier. `String` takes canonically equivalent ones for the same, MQTT does not.
struct Name: Hashable, Sendable {
    let text: String

    init(_ text: String) { self.text = text }

    static func == (left: Name, right: Name) -> Bool {
        var (left, right) = (left.text, right.text)
        return left.withUTF8 { left in right.withUTF8 { left.count == $0.count && left.elementsEqual($0) } }
    }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}
