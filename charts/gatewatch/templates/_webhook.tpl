{{/* Arguments of the gate: where its objects are. */}}
{{- define "gatewatch.webhookArguments" -}}
- --address=[::]:{{ .Values.webhook.port }}
- --metrics-address=[::]:{{ .Values.webhook.metricsPort }}
- --namespace=$(POD_NAMESPACE)
- --service={{ include "gatewatch.webhook" . }}
- --configuration={{ include "gatewatch.fullname" . }}
- --modes={{ include "gatewatch.modes" . }}
- --lease={{ include "gatewatch.webhook" . }}
{{- if eq .Values.webhook.certificates.source "self" }}
- --certificate-secret={{ include "gatewatch.certificate" . }}
{{- else }}
- --certificate-dir=/etc/gatewatch/certificate
{{- end }}
{{- end }}
