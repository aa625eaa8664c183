import MQTTPackets
import MQTTStore

/// What a store has to hold after the changes that it was given, by the letter of `StoreChange`: the plain model that
/// stores are measured against.
///
/// Names are kept as bytes: `String` takes canonically equivalent spellings for one, and MQTT does not.
package struct StoreContents: Sendable {
    package typealias Name = [UInt8]

    package struct Session: Sendable {
        package let clientID: String
        package var expiryInterval: UInt32
        package var disconnectedAt: Int64?
        package var will: Will?
        package var subscriptions: [Name: StoredSubscription] = [:]
        package var receivedPacketIDs: Set<UInt16> = []
        package var retiredPacketIDs: Set<UInt16> = []
        package var sendMark: UInt64 = 0
        package var nextNumber: UInt64 = 0
        package var messages: [UInt64: StoredMessage] = [:]
        package var replays: [Name: StoredReplay] = [:]
        package var pulledTopics: [String: UInt64] = [:]
    }

    package private(set) var broker: StoredBroker?
    package private(set) var sessions: [UInt64: Session] = [:]
    package private(set) var retained: [Name: StoredRetained] = [:]

    /// Nothing.
    package init() {}

    package mutating func apply(_ changes: [StoreChange]) {
        for change in changes { apply(change) }
    }

    package mutating func apply(_ change: StoreChange) {
        switch change {
        case .sessionBegan(let incarnation, let clientID, let expiryInterval):
            guard sessions[incarnation] == nil else { return }
            sessions[incarnation] = Session(clientID: clientID, expiryInterval: expiryInterval)
        case .sessionEnded(let incarnation): sessions[incarnation] = nil
        case .retained(let message): retained[Name(message.message.topic.utf8)] = message
        case .retainedCleared(let topic): retained[Name(topic.utf8)] = nil
        case .broker(let broker): self.broker = broker
        case .queued, .sendMark, .received, .finished, .retired, .packetReceived, .packetReleased:
            applyToMessages(change)
        default: applyToSession(change)
        }
    }

    private mutating func applyToSession(_ change: StoreChange) {
        switch change {
        case .sessionExpiryChanged(let incarnation, let interval): sessions[incarnation]?.expiryInterval = interval
        case .sessionConnected(let incarnation): sessions[incarnation]?.disconnectedAt = nil
        case .sessionDisconnected(let incarnation, let time): sessions[incarnation]?.disconnectedAt = time
        case .will(let will, let incarnation): sessions[incarnation]?.will = will
        case .subscribed(let subscription, let incarnation):
            sessions[incarnation]?.subscriptions[Name(subscription.filter.utf8)] = subscription
        case .unsubscribed(let incarnation, let filter):
            sessions[incarnation]?.subscriptions[Name(filter.utf8)] = nil
        case .replay(let replay, let incarnation):
            sessions[incarnation]?.replays[Name(replay.subscription.filter.utf8)] = replay
        case .replayEnded(let incarnation, let filter): sessions[incarnation]?.replays[Name(filter.utf8)] = nil
        case .replayPulled(let incarnation, let topic, let sequence):
            if topic.isEmpty {
                sessions[incarnation]?.pulledTopics = [:]
            } else {
                sessions[incarnation]?.pulledTopics[topic] = sequence
            }
        default: break
        }
    }

    private mutating func applyToMessages(_ change: StoreChange) {
        switch change {
        case .queued(let message, let incarnation):
            sessions[incarnation]?.messages[message.number] = message
            let next = max(sessions[incarnation]?.nextNumber ?? 0, message.number + 1)
            sessions[incarnation]?.nextNumber = next
        case .sendMark(let incarnation, let end): sessions[incarnation]?.sendMark = end
        case .received(let incarnation, let number): sessions[incarnation]?.messages[number]?.message = nil
        case .finished(let incarnation, let number): sessions[incarnation]?.messages[number] = nil
        case .retired(let incarnation, let packetID): sessions[incarnation]?.retiredPacketIDs.insert(packetID)
        case .packetReceived(let incarnation, let packetID):
            sessions[incarnation]?.receivedPacketIDs.insert(packetID)
        case .packetReleased(let incarnation, let packetID):
            sessions[incarnation]?.receivedPacketIDs.remove(packetID)
        default: break
        }
    }
}

extension StoreContents {
    /// What `MessageStore.open` has to return, in an order that depends on nothing but the contents.
    package var state: StoredState {
        StoredState(
            broker: broker,
            sessions: sessions.sorted { $0.key < $1.key }.map { incarnation, session in
                var stored = StoredSession(
                    incarnation: incarnation,
                    clientID: session.clientID,
                    expiryInterval: session.expiryInterval
                )
                stored.disconnectedAt = session.disconnectedAt
                stored.will = session.will
                stored.subscriptions = Array(session.subscriptions.values)
                stored.receivedPacketIDs = Array(session.receivedPacketIDs)
                stored.retiredPacketIDs = Array(session.retiredPacketIDs)
                stored.sendMark = session.sendMark
                stored.nextNumber = session.nextNumber
                stored.queuedMessages = session.messages.count
                stored.queuedBytes = session.messages.values.reduce(0) { $0 + ($1.message?.encodedBytes ?? 0) }
                stored.replays = Array(session.replays.values)
                stored.pulledTopics = session.pulledTopics
                return stored
            },
            retained: retained.values.sorted { $0.version < $1.version }
        )
    }

    /// A session's messages in the order of their numbers.
    package func messages(of incarnation: UInt64, from number: UInt64 = 0) -> [StoredMessage] {
        (sessions[incarnation]?.messages.values ?? [:].values)
            .filter { $0.number >= number }
            .sorted { $0.number < $1.number }
    }
}
