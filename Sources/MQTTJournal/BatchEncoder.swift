import MQTTPackets
import MQTTStore
import NIOCore

/// Writes the records of one batch into a buffer that is used again for the next.
///
///     ┌─────────┬───────────┬───────────┬─────┬──────────┐
///     │ message │ receivers │ subscribe │ ... │ end mark │
///     └─────────┴───────────┴───────────┴─────┴──────────┘
///        ▲ one for all changes that follow one another with the same `Message`
struct BatchEncoder {
    private(set) var buffer = ByteBuffer()
    private var chain: UInt32 = 0
    private var recordStart = 0

    var bytes: Int { buffer.writerIndex }

    mutating func clear() {
        // What one large batch took is not kept for all small ones.
        if buffer.capacity > 8 << 20 { buffer = ByteBuffer() }
        buffer.clear()
        chain = 0
    }

    mutating func begin(_ kind: JournalFormat.Kind) {
        recordStart = buffer.writerIndex
        buffer.writeMultipleIntegers(UInt64(0), kind.rawValue)
    }

    mutating func finish() {
        let (start, end) = (recordStart, buffer.writerIndex)
        let length = UInt32(end - start - 8)
        let checksum = buffer.withUnsafeReadableBytes { bytes in
            JournalFormat.checksum(UnsafeRawBufferPointer(rebasing: bytes[(start + 8)..<end]))
        }
        buffer.setInteger(UInt64(length) << 32 | UInt64(checksum), at: start)
        chain = RecordHead.chained(chain, length: length, checksum: checksum)
    }

    /// A whole record, whose body has `bytes` bytes, at one go: for those of which there are many.
    private mutating func record(_ kind: JournalFormat.Kind, bytes: Int, _ write: (inout RawWriter) -> Void) {
        let length = UInt32(1 + bytes)
        var checksum: UInt32 = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: JournalFormat.recordHeadBytes + bytes) { target in
            var writer = RawWriter(UnsafeMutableRawBufferPointer(rebasing: target[8...]))
            writer.integer(kind.rawValue)
            write(&writer)
            checksum = JournalFormat.checksum(UnsafeRawBufferPointer(rebasing: target[8..<(8 + writer.count)]))
            target.storeBytes(of: (UInt64(length) << 32 | UInt64(checksum)).bigEndian, as: UInt64.self)
            return 8 + writer.count
        }
        chain = RecordHead.chained(chain, length: length, checksum: checksum)
    }

    /// A record that has been written before, as it stands.
    mutating func copy(_ record: UnsafeRawBufferPointer, _ head: RecordHead) {
        buffer.writeBytes(record)
        chain = head.chained(chain)
    }

    /// The end mark of a batch that is to stand at `offset`. Can be repeated for another place.
    mutating func end(batch: UInt64, seed: UInt32, offset: Int) {
        let (bytes, before) = (UInt32(buffer.writerIndex), chain)
        begin(.endMark)
        let check = JournalFormat.check(seed: seed, batch: batch, offset: offset, bytes: bytes, chain: before)
        buffer.writeMultipleIntegers(batch, bytes, before, check)
        finish()
        chain = before
    }

    mutating func removeEnd() { buffer.moveWriterIndex(to: buffer.writerIndex - JournalFormat.endMarkBytes) }

    mutating func encode(_ changes: [StoreChange]) {
        var at = 0
        while at < changes.count {
            if case .queued(let stored, _) = changes[at], let message = stored.message {
                at = encodeQueued(changes, from: at, message)
            } else {
                encode(changes[at])
                at += 1
            }
        }
    }

    /// A message and all that follow one another with it; where they end.
    private mutating func encodeQueued(_ changes: [StoreChange], from start: Int, _ message: Message) -> Int {
        var end = start + 1
        while end < changes.count, case .queued(let stored, _) = changes[end], stored.message === message { end += 1 }
        let messageStart = buffer.writerIndex
        encodeMessage(message)
        if end == start + 1, case .queued(let stored, let incarnation) = changes[start], !Self.hasExtra(stored) {
            encodeSoleReceiver(of: messageStart, stored, incarnation)
            return end
        }
        var at = start
        while at < end {
            let partEnd = min(end, at + QueueEntry.receiversMax)
            beginReceivers(of: messageStart, total: end - start)
            while at < partEnd {
                if case .queued(let stored, let incarnation) = changes[at] { encodeReceiver(stored, incarnation) }
                at += 1
            }
            finish()
        }
        return end
    }

    private mutating func encodeMessage(_ message: Message) {
        record(.message, bytes: message.encodedBytes) { message.encode(into: &$0) }
    }

    /// The one receiver of a message that goes to no other, without identifiers and shared filter: most are.
    private mutating func encodeSoleReceiver(of message: Int, _ stored: StoredMessage, _ incarnation: UInt64) {
        let distance = UInt32(buffer.writerIndex - message)
        record(.receivers, bytes: 8 + JournalFormat.receiverBytes) { writer in
            writer.integer(distance)
            writer.integer(UInt32(1))
            writer.integer(incarnation)
            writer.integer(stored.number)
            writer.integer(stored.qos.rawValue | (stored.isRetained ? 4 : 0))
        }
    }

    /// `message` is where its record begins; nil where the receivers do not need it any more.
    mutating func beginReceivers(of message: Int?, total: Int) {
        let distance = message.map { buffer.writerIndex - $0 } ?? 0
        begin(.receivers)
        buffer.writeMultipleIntegers(UInt32(distance), UInt32(total))
    }

    private static func hasExtra(_ stored: StoredMessage) -> Bool {
        !stored.identifiers.isEmpty || !stored.sharedFilter.isEmpty
    }

    private mutating func encodeReceiver(_ stored: StoredMessage, _ incarnation: UInt64) {
        let hasExtra = Self.hasExtra(stored)
        let flags = stored.qos.rawValue | (stored.isRetained ? 4 : 0) | (hasExtra ? 8 : 0)
        buffer.writeMultipleIntegers(incarnation, stored.number, flags)
        guard hasExtra else { return }
        buffer.writeInteger(UInt32(stored.identifiers.count))
        for identifier in stored.identifiers { buffer.writeInteger(identifier) }
        write(stored.sharedFilter)
    }

    /// One that was read from an older record.
    mutating func copyReceiver(_ receiver: RecordCursor.Receiver, from bytes: UnsafeRawBufferPointer) {
        buffer.writeMultipleIntegers(receiver.incarnation, receiver.number, receiver.flags)
        if receiver.hasExtra { buffer.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[receiver.extra])) }
    }

    private mutating func write(_ text: String) {
        buffer.writeInteger(UInt16(text.utf8.count))
        buffer.writeString(text)
    }

    private mutating func encode(_ change: StoreChange) {
        switch change {
        case .sessionBegan(let incarnation, let clientID, let expiryInterval):
            record(.began, incarnation, expiryInterval, clientID)
        case .sessionExpiryChanged(let incarnation, let expiryInterval):
            record(.expiry, incarnation, expiryInterval)
        case .sessionConnected(let incarnation): record(.connected, incarnation)
        case .sessionDisconnected(let incarnation, let time): record(.disconnected, incarnation, time)
        case .sessionEnded(let incarnation): record(.ended, incarnation)
        case .will(let will, let incarnation): encode(will, incarnation)
        case .subscribed(let subscription, let incarnation):
            begin(.subscribed)
            buffer.writeInteger(incarnation)
            write(subscription)
            finish()
        case .unsubscribed(let incarnation, let filter): record(.unsubscribed, incarnation, text: filter)
        case .queued(let stored, let incarnation):
            beginReceivers(of: nil, total: 1)
            encodeReceiver(stored, incarnation)
            finish()
        case .sendMark(let incarnation, let end): record(.sendMark, incarnation, end)
        case .received(let incarnation, let number): record(.received, incarnation, number)
        case .finished(let incarnation, let number): record(.finished, incarnation, number)
        case .retired(let incarnation, let packetID): record(.retired, incarnation, packetID)
        case .packetReceived(let incarnation, let packetID): record(.packetReceived, incarnation, packetID)
        case .packetReleased(let incarnation, let packetID): record(.packetReleased, incarnation, packetID)
        case .retained(let retained): encode(retained)
        case .retainedCleared(let topic):
            begin(.retainedCleared)
            buffer.writeString(topic)
            finish()
        case .replay(let replay, let incarnation):
            begin(.replay)
            buffer.writeInteger(incarnation)
            write(replay)
            finish()
        case .replayEnded(let incarnation, let filter): record(.replayEnded, incarnation, text: filter)
        case .replayPulled(let incarnation, let topic, let sequence):
            begin(.replayPulled)
            buffer.writeMultipleIntegers(incarnation, sequence)
            write(topic)
            finish()
        case .broker(let broker): encode(broker)
        }
    }

    private mutating func record(_ kind: JournalFormat.Kind, _ incarnation: UInt64) {
        record(kind, bytes: 8) { $0.integer(incarnation) }
    }

    private mutating func record<Value: FixedWidthInteger>(
        _ kind: JournalFormat.Kind,
        _ incarnation: UInt64,
        _ value: Value
    ) {
        record(kind, bytes: 8 + MemoryLayout<Value>.size) { writer in
            writer.integer(incarnation)
            writer.integer(value)
        }
    }

    private mutating func record(_ kind: JournalFormat.Kind, _ incarnation: UInt64, _ value: UInt32, _ text: String) {
        begin(kind)
        buffer.writeMultipleIntegers(incarnation, value)
        write(text)
        finish()
    }

    private mutating func record(_ kind: JournalFormat.Kind, _ incarnation: UInt64, text: String) {
        begin(kind)
        buffer.writeInteger(incarnation)
        write(text)
        finish()
    }

    private mutating func encode(_ will: Will?, _ incarnation: UInt64) {
        guard let will else { return record(.willCleared, incarnation) }
        begin(.will)
        buffer.writeInteger(incarnation)
        write(will)
        finish()
    }

    private mutating func encode(_ retained: StoredRetained) {
        begin(.retained)
        buffer.writeInteger(retained.version)
        let topic = retained.message.view.topic
        buffer.writeInteger(UInt16(topic.count))
        buffer.writeBytes(retained.message.bytes[topic])
        retained.message.encode(into: &buffer)
        finish()
    }

    mutating func encode(_ broker: StoredBroker) {
        begin(.broker)
        buffer.writeMultipleIntegers(
            broker.time,
            broker.wallClock,
            broker.lastIncarnation,
            broker.lastRetainedVersion
        )
        finish()
    }

    mutating func encodeFirstSegment(_ number: UInt32) {
        begin(.firstSegment)
        buffer.writeInteger(number)
        finish()
    }

    mutating func encodeIndex(previous: Int, firstBatch: UInt64, start: Int, copies: ByteBuffer) {
        begin(.index)
        buffer.writeMultipleIntegers(UInt32(previous), firstBatch, UInt32(start))
        buffer.writeImmutableBuffer(copies)
        finish()
    }

    mutating func write(_ subscription: StoredSubscription) {
        buffer.writeMultipleIntegers(subscription.identifier, subscription.options.byte)
        write(subscription.filter)
    }

    mutating func write(_ replay: StoredReplay) {
        buffer.writeMultipleIntegers(replay.versionMax, replay.sequence)
        write(replay.subscription)
        write(replay.through)
    }

    mutating func write(_ will: Will) {
        buffer.writeInteger(will.qos.rawValue | (will.isRetained ? 4 : 0))
        write(will.topic)
        buffer.writeInteger(UInt32(will.properties.encodedBytes))
        will.properties.encode(into: &buffer)
        buffer.writeInteger(UInt32(will.payload.readableBytes))
        buffer.writeImmutableBuffer(will.payload)
    }

    /// All that is known of a session but its messages: it takes the place of every record of it that came before.
    mutating func encode(_ session: JournalSession) {
        begin(.session)
        buffer.writeMultipleIntegers(
            session.incarnation,
            session.expiryInterval,
            UInt8(session.disconnectedAt == nil ? 0 : 1) | (session.will == nil ? 0 : 2),
            session.disconnectedAt ?? 0,
            session.sendMark,
            session.nextNumber
        )
        write(session.clientID)
        write(session.retired)
        write(session.received)
        if let will = session.will { write(will) }
        buffer.writeInteger(UInt32(session.subscriptions.count))
        for subscription in session.subscriptions.values { write(subscription) }
        buffer.writeInteger(UInt32(session.replays.count))
        for replay in session.replays.values { write(replay) }
        buffer.writeInteger(UInt32(session.pulled.count))
        for (topic, sequence) in session.pulled {
            buffer.writeInteger(sequence)
            write(topic.text)
        }
        finish()
    }

    private mutating func write(_ packetIDs: Set<UInt16>) {
        buffer.writeInteger(UInt32(packetIDs.count))
        for packetID in packetIDs.sorted() { buffer.writeInteger(packetID) }
    }
}
