import MQTTStore
