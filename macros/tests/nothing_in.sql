{# A column is null in every row. #}
{% test nothing_in(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} is not null
{% endtest %}
