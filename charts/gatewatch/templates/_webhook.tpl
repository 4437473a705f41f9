{{/* Arguments of the gate: the names of its objects. */}}
{{- define "gatewatch.webhookArguments" -}}
- serve
- --listen={{ .Values.webhook.listenAddress }}:{{ .Values.webhook.port }}
- --metrics-address={{ .Values.webhook.listenAddress }}:{{ .Values.webhook.metricsPort }}
- --service={{ include "gatewatch.webhook" . }}
- --modes={{ include "gatewatch.modes" . }}
- --lease={{ include "gatewatch.webhook" . }}
{{- range .Values.webhook.templates }}
- --template={{ .kind }}.{{ .group }}={{ .path }}
{{- end }}
{{- if eq .Values.webhook.certificates.source "self" }}
- --tls-secret={{ include "gatewatch.certificate" . }}
- --registrations={{ include "gatewatch.fullname" . }}
{{- else }}
- --tls-dir=/etc/gatewatch/tls
{{- end }}
{{- end }}
