import Foundation
import MQTTPackets
import MQTTStore
import NIOCore

/// A store in a file that people can read: a line for each change, and `commit` behind each batch.
///
///     began 7 =Y2xpZW50 3600
///     subscribed 7 =c3BvcnQvIw== 1 0 0 0 0
///     commit
///
/// What may contain anything stands there in base64, behind `=`. The file only grows, and all that it holds is in memory,
/// too: a store to learn from. The broker's own is the journal.
public actor FileStore: MessageStore {
    /// A line of the file that is none.
    public struct Unreadable: Error, CustomStringConvertible {
        /// Which line.
        public let description: String
    }

    /// It was not opened, or was closed.
    public struct NotOpen: Error {}

    private struct Session {
        var stored: StoredSession
        var messages: [UInt64: StoredMessage] = [:]
    }

    private let path: String
    private var file: FileHandle?
    private var broker: StoredBroker?
    private var sessions: [UInt64: Session] = [:]
    /// By the bytes of the topic: a dictionary takes "é" and "e" with an accent for the same string, and MQTT does not.
    private var retained: [Data: StoredRetained] = [:]

    /// A store in this file, which `open` makes where it is not there.
    public init(path: String) { self.path = path }

    /// True.
    public nonisolated var isDurable: Bool { true }

    /// Reads the file from its begin to its last whole batch.
    public func open() throws -> StoredState {
        let url = URL(filePath: path)
        if !FileManager.default.fileExists(atPath: path) {
            try Data().write(to: url)
            // Its name has to last, too.
            try FileHandle(forReadingFrom: url.deletingLastPathComponent()).synchronize()
        }
        let file = try FileHandle(forUpdating: url)
        let content = try file.readToEnd() ?? Data()
        // A crash may have left a part of a batch. It was not acknowledged, and the next one must not stand behind it.
        let end = content.range(of: Data("\ncommit\n".utf8), options: .backwards)?.upperBound ?? 0
        for line in content[..<end].split(separator: UInt8(ascii: "\n")) where line != Data("commit".utf8) {
            guard let change = Line.read(String(decoding: line, as: UTF8.self)) else {
                throw Unreadable(
                    description: "\(path): a line that is no change: \(String(decoding: line, as: UTF8.self))"
                )
            }
            apply(change)
        }
        try file.truncate(atOffset: UInt64(end))
        // A process that was killed has left to the system what it did not sync. It counts from here on.
        try file.synchronize()
        self.file = file
        let stored = sessions.values.map { session in
            var stored = session.stored
            stored.queuedMessages = session.messages.count
            stored.queuedBytes = session.messages.values.reduce(0) { $0 + ($1.message?.encodedBytes ?? 0) }
            return stored
        }
        return StoredState(broker: broker, sessions: stored, retained: Array(retained.values))
    }

    /// Writes the batch and has it synced.
    public func commit(_ changes: [StoreChange]) throws {
        guard let file else { throw NotOpen() }
        let lines = changes.map { Line.write($0) + "\n" }.joined() + "commit\n"
        try file.write(contentsOf: Data(lines.utf8))
        try file.synchronize()
        for change in changes { apply(change) }
    }

    /// From memory.
    public func messages(_ pages: [StoredPage]) -> [[StoredMessage]] { pages.map(messages) }

    private func messages(_ wanted: StoredPage) -> [StoredMessage] {
        let all = (sessions[wanted.incarnation]?.messages.values ?? [:].values).filter { $0.number >= wanted.number }
        var page: [StoredMessage] = []
        var left = wanted.bytes
        for message in all.sorted(by: { $0.number < $1.number }).prefix(wanted.count) where left > 0 {
            page.append(message)
            left -= message.message?.encodedBytes ?? 0
        }
        return page
    }

    /// Closes the file.
    public func close() {
        try? file?.close()
        file = nil
    }

    // MARK: What is there after a change

    private func apply(_ change: StoreChange) {
        switch change {
        case .broker(let broker): self.broker = broker
        case .retained(let kept): retained[Data(kept.message.topic.utf8)] = kept
        case .retainedCleared(let topic): retained[Data(topic.utf8)] = nil
        case .sessionBegan(let incarnation, let clientID, let expiry):
            guard sessions[incarnation] == nil else { return }
            let new = StoredSession(incarnation: incarnation, clientID: clientID, expiryInterval: expiry)
            sessions[incarnation] = Session(stored: new)
        case .sessionEnded(let incarnation): sessions[incarnation] = nil
        case .queued(let message, let incarnation):
            sessions[incarnation]?.messages[message.number] = message
            let next = max(message.number + 1, sessions[incarnation]?.stored.nextNumber ?? 0)
            sessions[incarnation]?.stored.nextNumber = next
        case .received(let incarnation, let number): sessions[incarnation]?.messages[number]?.message = nil
        case .finished(let incarnation, let number): sessions[incarnation]?.messages[number] = nil
        // Late changes of a session that has ended find nothing here.
        case .sessionExpiryChanged(let incarnation, _), .sessionConnected(let incarnation),
            .sessionDisconnected(let incarnation, _), .will(_, let incarnation), .subscribed(_, let incarnation),
            .unsubscribed(let incarnation, _), .sendMark(let incarnation, _), .retired(let incarnation, _),
            .packetReceived(let incarnation, _), .packetReleased(let incarnation, _), .replay(_, let incarnation),
            .replayEnded(let incarnation, _), .replayPulled(let incarnation, _, _):
            sessions[incarnation]?.stored.apply(change)
        }
    }
}

extension StoredSession {
    fileprivate mutating func apply(_ change: StoreChange) {
        switch change {
        case .sessionExpiryChanged(_, let interval): expiryInterval = interval
        case .sessionConnected: disconnectedAt = nil
        case .sessionDisconnected(_, let time): disconnectedAt = time
        case .will(let will, _): self.will = will
        case .subscribed(let subscription, _):
            subscriptions.removeAll { $0.filter.utf8.elementsEqual(subscription.filter.utf8) }
            subscriptions.append(subscription)
        case .unsubscribed(_, let filter): subscriptions.removeAll { $0.filter.utf8.elementsEqual(filter.utf8) }
        case .sendMark(_, let end): sendMark = end
        case .retired(_, let packetID): if !retiredPacketIDs.contains(packetID) { retiredPacketIDs.append(packetID) }
        case .packetReceived(_, let id): if !receivedPacketIDs.contains(id) { receivedPacketIDs.append(id) }
        case .packetReleased(_, let packetID): receivedPacketIDs.removeAll { $0 == packetID }
        case .replay(let replay, _):
            replays.removeAll { $0.subscription.filter.utf8.elementsEqual(replay.subscription.filter.utf8) }
            replays.append(replay)
        case .replayEnded(_, let filter): replays.removeAll { $0.subscription.filter.utf8.elementsEqual(filter.utf8) }
        case .replayPulled(_, let topic, let sequence):
            if topic.isEmpty { pulledTopics = [:] } else { pulledTopics[topic] = sequence }
        default: return
        }
    }
}

/// One change as a line of text.
private enum Line {
    static func write(_ change: StoreChange) -> String {
        switch change {
        case .broker(let broker):
            words("broker", broker.time, broker.wallClock, broker.lastIncarnation, broker.lastRetainedVersion)
        case .sessionBegan(let incarnation, let clientID, let expiry):
            words("began", incarnation, text(clientID), expiry)
        case .sessionExpiryChanged(let incarnation, let expiry): words("expiry", incarnation, expiry)
        case .sessionConnected(let incarnation): words("connected", incarnation)
        case .sessionDisconnected(let incarnation, let time): words("disconnected", incarnation, time)
        case .sessionEnded(let incarnation): words("ended", incarnation)
        case .will(nil, let incarnation): words("will", incarnation)
        case .will(let will?, let incarnation):
            words(
                "will",
                incarnation,
                text(will.topic),
                base64(will.payload),
                will.qos.rawValue,
                will.isRetained ? 1 : 0
            )
                + will.properties.elements.map { " " + write($0) }.joined()
        case .subscribed(let subscription, let incarnation): words("subscribed", incarnation, write(subscription))
        case .unsubscribed(let incarnation, let filter): words("unsubscribed", incarnation, text(filter))
        case .queued(let queued, let incarnation):
            words(
                "queued",
                incarnation,
                queued.number,
                queued.message.map(write) ?? "=",
                queued.qos.rawValue,
                queued.isRetained ? 1 : 0,
                text(queued.sharedFilter)
            ) + queued.identifiers.map { " \($0)" }.joined()
        case .sendMark(let incarnation, let end): words("mark", incarnation, end)
        case .received(let incarnation, let number): words("received", incarnation, number)
        case .finished(let incarnation, let number): words("finished", incarnation, number)
        case .retired(let incarnation, let packetID): words("retired", incarnation, packetID)
        case .packetReceived(let incarnation, let packetID): words("packet", incarnation, packetID)
        case .packetReleased(let incarnation, let packetID): words("released", incarnation, packetID)
        case .retained(let kept): words("retained", kept.version, write(kept.message))
        case .retainedCleared(let topic): words("cleared", text(topic))
        case .replay(let replay, let incarnation):
            words(
                "replay",
                incarnation,
                write(replay.subscription),
                replay.versionMax,
                text(replay.through),
                replay.sequence
            )
        case .replayEnded(let incarnation, let filter): words("replayed", incarnation, text(filter))
        case .replayPulled(let incarnation, let topic, let sequence):
            words("pulled", incarnation, text(topic), sequence)
        }
    }

    private static func words(_ words: Any...) -> String { words.map { "\($0)" }.joined(separator: " ") }
    private static func text(_ text: String) -> String { "=" + Data(text.utf8).base64EncodedString() }
    private static func base64(_ bytes: ByteBuffer) -> String {
        "=" + Data(bytes.readableBytesView).base64EncodedString()
    }

    private static func write(_ message: Message) -> String {
        var bytes = ByteBuffer()
        message.encode(into: &bytes)
        return base64(bytes)
    }

    private static func write(_ subscription: StoredSubscription) -> String {
        let options = subscription.options
        return words(
            text(subscription.filter),
            options.qos.rawValue,
            options.noLocal ? 1 : 0,
            options.retainAsPublished ? 1 : 0,
            options.retainHandling.rawValue,
            subscription.identifier
        )
    }

    private static func write(_ property: Property) -> String {
        let id = property.identifier.rawValue
        return switch property.value {
        case .integer(let number): "\(id):\(number)"
        case .string(let string): "\(id):\(text(string))"
        case .binary(let bytes): "\(id):\(base64(bytes))"
        case .pair(let name, let value): "\(id):\(text(name)):\(text(value))"
        }
    }

    /// Nil where the line is none that `write` has made.
    static func read(_ line: String) -> StoreChange? {
        var words = Words(line)
        guard let kind = words.next() else { return nil }
        switch kind {
        case "broker":
            guard let time: Int64 = words.number(), let clock: Int64 = words.number(),
                let incarnation: UInt64 = words.number(), let version: UInt64 = words.number()
            else { return nil }
            return .broker(
                StoredBroker(time: time, wallClock: clock, lastIncarnation: incarnation, lastRetainedVersion: version)
            )
        case "retained":
            guard let version: UInt64 = words.number(), let message = words.message() else { return nil }
            return .retained(StoredRetained(message, version: version))
        case "cleared": return words.text().map { .retainedCleared(topic: $0) }
        default:
            guard let incarnation: UInt64 = words.number() else { return nil }
            return readChange(kind, of: incarnation, &words) ?? readMessage(kind, of: incarnation, &words)
        }
    }

    private static func readChange(_ kind: String, of incarnation: UInt64, _ words: inout Words) -> StoreChange? {
        switch kind {
        case "began":
            guard let clientID = words.text(), let expiry: UInt32 = words.number() else { return nil }
            return .sessionBegan(incarnation: incarnation, clientID: clientID, expiryInterval: expiry)
        case "expiry":
            return words.number().map { .sessionExpiryChanged(incarnation: incarnation, expiryInterval: $0) }
        case "connected": return .sessionConnected(incarnation: incarnation)
        case "disconnected": return words.number().map { .sessionDisconnected(incarnation: incarnation, at: $0) }
        case "ended": return .sessionEnded(incarnation: incarnation)
        case "will":
            guard let topic = words.text() else { return .will(nil, incarnation: incarnation) }
            guard let payload = words.bytes(), let qos = words.qos(), let isRetained = words.flag() else { return nil }
            var will = Will(topic: topic, payload: payload, qos: qos, isRetained: isRetained)
            while let word = words.next() { guard will.properties.read(word) else { return nil } }
            return .will(will, incarnation: incarnation)
        case "subscribed": return words.subscription().map { .subscribed($0, incarnation: incarnation) }
        case "unsubscribed": return words.text().map { .unsubscribed(incarnation: incarnation, filter: $0) }
        case "replay":
            guard let subscription = words.subscription(), let version: UInt64 = words.number(),
                let through = words.text(), let sequence: UInt64 = words.number()
            else { return nil }
            let replay = StoredReplay(
                subscription: subscription,
                versionMax: version,
                through: through,
                sequence: sequence
            )
            return .replay(replay, incarnation: incarnation)
        case "replayed": return words.text().map { .replayEnded(incarnation: incarnation, filter: $0) }
        case "pulled":
            guard let topic = words.text(), let sequence: UInt64 = words.number() else { return nil }
            return .replayPulled(incarnation: incarnation, topic: topic, sequence: sequence)
        default: return nil
        }
    }

    private static func readMessage(_ kind: String, of incarnation: UInt64, _ words: inout Words) -> StoreChange? {
        switch kind {
        case "queued":
            guard let number: UInt64 = words.number(), let bytes = words.bytes(), let qos = words.qos(),
                let isRetained = words.flag(), let shared = words.text()
            else { return nil }
            let message = Message(decoding: bytes)
            guard message != nil || bytes.readableBytes == 0 else { return nil }
            var queued = StoredMessage(number: number, message: message, qos: qos, isRetained: isRetained)
            queued.sharedFilter = shared
            while let identifier: UInt32 = words.number() { queued.identifiers.append(identifier) }
            return .queued(queued, incarnation: incarnation)
        case "mark": return words.number().map { .sendMark(incarnation: incarnation, end: $0) }
        case "received": return words.number().map { .received(incarnation: incarnation, number: $0) }
        case "finished": return words.number().map { .finished(incarnation: incarnation, number: $0) }
        case "retired": return words.number().map { .retired(incarnation: incarnation, packetID: $0) }
        case "packet": return words.number().map { .packetReceived(incarnation: incarnation, packetID: $0) }
        case "released": return words.number().map { .packetReleased(incarnation: incarnation, packetID: $0) }
        default: return nil
        }
    }
}

/// The words of a line, one after the other; nil where there is no such word.
private struct Words {
    private var rest: ArraySlice<Substring>

    init(_ line: String) { rest = line.split(separator: " ")[...] }

    mutating func next() -> String? { rest.popFirst().map(String.init) }
    mutating func number<Number: LosslessStringConvertible>() -> Number? { next().flatMap { Number($0) } }
    mutating func flag() -> Bool? { number().map { (number: Int) in number == 1 } }
    mutating func qos() -> QoS? { number().flatMap { QoS(rawValue: $0) } }
    mutating func text() -> String? { next().flatMap(Self.text) }
    mutating func bytes() -> ByteBuffer? { next().flatMap(Self.bytes) }
    mutating func message() -> Message? { bytes().flatMap { Message(decoding: $0) } }

    mutating func subscription() -> StoredSubscription? {
        guard let filter = text(), let qos = qos(), let noLocal = flag(), let asPublished = flag(),
            let handling = number().flatMap({ SubscriptionOptions.RetainHandling(rawValue: $0) }),
            let identifier: UInt32 = number()
        else { return nil }
        let options = SubscriptionOptions(
            qos: qos,
            noLocal: noLocal,
            retainAsPublished: asPublished,
            retainHandling: handling
        )
        return StoredSubscription(filter: filter, options: options, identifier: identifier)
    }

    static func bytes(_ word: some StringProtocol) -> ByteBuffer? {
        guard word.hasPrefix("=") else { return nil }
        return Data(base64Encoded: String(word.dropFirst())).map { ByteBuffer(bytes: $0) }
    }

    static func text(_ word: some StringProtocol) -> String? { bytes(word).map { String(buffer: $0) } }
}

extension Properties {
    /// Takes up a property that was written; false where it is none.
    fileprivate mutating func read(_ word: String) -> Bool {
        let parts = word.split(separator: ":")
        guard parts.count > 1, let id = UInt8(parts[0]).flatMap({ PropertyIdentifier(rawValue: $0) }) else {
            return false
        }
        switch id {
        case .userProperty:
            guard parts.count == 3, let name = Words.text(parts[1]), let value = Words.text(parts[2]) else {
                return false
            }
            appendUserProperty(name, value)
        case .correlationData: self[binary: id] = Words.bytes(parts[1])
        case .contentType, .responseTopic: self[string: id] = Words.text(parts[1])
        default: self[integer: id] = UInt32(parts[1])
        }
        return true
    }
}
