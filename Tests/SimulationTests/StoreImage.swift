import MQTTStore

/// What a store gives back after a crash: all changes up to one, by the letter of `StoreChange`.
struct StoreImage {
    private(set) var sessions: [UInt64: StoredSession] = [:]
    private(set) var queues: [UInt64: [UInt64: StoredMessage]] = [:]
    private(set) var retained: [String: StoredRetained] = [:]

    /// In an order that depends on nothing but the changes.
    var state: StoredState {
        let ordered = sessions.values.sorted { $0.incarnation < $1.incarnation }.map { session in
            var session = session
            session.queuedMessages = queues[session.incarnation]?.count ?? 0
            session.queuedBytes = 100 * session.queuedMessages
            return session
        }
        return StoredState(sessions: ordered, retained: retained.values.sorted { $0.version < $1.version })
    }

    func messages(of incarnation: UInt64) -> [StoredMessage] {
        (queues[incarnation] ?? [:]).values.sorted { $0.number < $1.number }
    }

    mutating func apply(_ change: StoreChange) {
        switch change {
        case .sessionBegan(let incarnation, let clientID, let expiryInterval):
            sessions[incarnation] = StoredSession(
                incarnation: incarnation,
                clientID: clientID,
                expiryInterval: expiryInterval
            )
        case .sessionEnded(let incarnation):
            sessions[incarnation] = nil
            queues[incarnation] = nil
        case .retained(let kept): retained[kept.message.topic] = kept
        case .retainedCleared(let topic): retained[topic] = nil
        case .broker: break
        case .sessionExpiryChanged(let incarnation, let interval): sessions[incarnation]?.expiryInterval = interval
        case .sessionConnected(let incarnation): sessions[incarnation]?.disconnectedAt = nil
        case .sessionDisconnected(let incarnation, let at): sessions[incarnation]?.disconnectedAt = at
        case .will(let will, let incarnation): sessions[incarnation]?.will = will
        case .subscribed(let subscription, let incarnation):
            sessions[incarnation]?.subscriptions.removeAll { $0.filter == subscription.filter }
            sessions[incarnation]?.subscriptions.append(subscription)
        case .unsubscribed(let incarnation, let filter):
            sessions[incarnation]?.subscriptions.removeAll { $0.filter == filter }
        default: applyToMessages(change)
        }
    }

    private mutating func applyToMessages(_ change: StoreChange) {
        switch change {
        case .queued(let message, let incarnation):
            guard sessions[incarnation] != nil else { return }
            queues[incarnation, default: [:]][message.number] = message
            sessions[incarnation]?.nextNumber = message.number + 1
        case .sendMark(let incarnation, let end): sessions[incarnation]?.sendMark = end
        case .received(let incarnation, let number): queues[incarnation]?[number]?.message = nil
        case .finished(let incarnation, let number): queues[incarnation]?[number] = nil
        case .retired(let incarnation, let packetID): sessions[incarnation]?.retiredPacketIDs.append(packetID)
        case .packetReceived(let incarnation, let packetID):
            sessions[incarnation]?.receivedPacketIDs.append(packetID)
        case .packetReleased(let incarnation, let packetID):
            sessions[incarnation]?.receivedPacketIDs.removeAll { $0 == packetID }
        case .replay(let replay, let incarnation):
            sessions[incarnation]?.replays.removeAll { $0.subscription.filter == replay.subscription.filter }
            sessions[incarnation]?.replays.append(replay)
        case .replayEnded(let incarnation, let filter):
            sessions[incarnation]?.replays.removeAll { $0.subscription.filter == filter }
        case .replayPulled(let incarnation, let topic, let sequence):
            if topic.isEmpty {
                sessions[incarnation]?.pulledTopics = [:]
            } else {
                sessions[incarnation]?.pulledTopics[topic] = sequence
            }
        default: break
        }
    }
}
