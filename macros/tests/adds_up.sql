{# One column is the sum of others in every row. #}
{% test adds_up(model, whole, parts) %}
select *
from {{ model }}
where {{ whole }} <> {{ parts | join(' + ') }}
{% endtest %}
